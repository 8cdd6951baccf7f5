"""Weights and images that NumPy draws from names and shapes alone, the same for every framework.

The proof of equality loads them into PyTorch's models (tests/golden/make_zoo.py) and into ours.
"""

import zlib
from collections.abc import Mapping

import numpy as np
from flax import linen as nn

from jaxcnn import models
from jaxcnn.weights.translation import torch_shapes

BATCH = 4
CLASSES = 10
RANDOM = ("drop_rate", "drop_path_rate")  # options that are 0 in all comparisons
SLICE = 16  # values of each stage
SIZES = {"inception_v3": 299, "alexnet_2012": 227}  # pixels; the others:
USUAL = 64
# Of all kernels. At 1 the values of these nets grow from block to block to 1e3 or 1e5, where the
# gates are so steep that PyTorch's own logits change by 1e-5 when the images change by 1e-14.
GAINS = {"efficientnet_b6": 0.9, "efficientnet_b7": 0.9} | {
    f"efficientnet_v2_{size}": 0.8 for size in "sml"
}


def draw(name: str, *shape: int) -> np.ndarray:
    """Standard normal numbers that depend on the name and the shape alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)


def images(name: str) -> np.ndarray:
    """Images b h w c for the model of that name, where all its stages have a few pixels."""
    size = SIZES.get(name, USUAL)
    return draw("images", BATCH, size, size, models.entry(name).input_shape[2])


def labels() -> np.ndarray:
    """A label for each of the images."""
    return np.arange(BATCH) * 3 % CLASSES


def model(name: str) -> nn.Module:
    """The model of that name with ten classes, and nothing random in training."""
    off = {k: 0.0 for k in RANDOM if k in models.defaults(name)}
    return models.create(name, num_classes=CLASSES, **off)


def state(name: str, num_classes: int = CLASSES) -> dict[str, np.ndarray]:
    """A PyTorch state for our model of that name, by `weights`."""
    return weights(torch_shapes(name, num_classes), GAINS.get(name, 1.0))


def weights(shapes: Mapping[str, tuple[int, ...]], gain: float = 1.0) -> dict[str, np.ndarray]:
    """A PyTorch state: values of size one flow through kernels, norms have random statistics.

    Args:
        shapes: of each parameter and buffer in PyTorch's layout.
        gain: what kernels are multiplied by; the model's of `GAINS`.
    """
    return {name: _weight(name, shape, gain) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    z = draw(name, *shape)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return 0.5 + np.abs(z)
    if len(shape) > 1 and name.endswith("weight"):  # o i h w: He's variance
        return z * np.float32(gain * np.sqrt(2 / np.prod(shape[1:])))
    if name.endswith(("weight", "layer_scale")):  # of norms
        return 1 + np.float32(0.2) * z
    return np.float32(0.2) * z  # biases and running means


def sample(y: np.ndarray) -> np.ndarray:
    """`SLICE` values spread evenly over an array."""
    flat = y.ravel()
    return flat[np.linspace(0, flat.size - 1, min(SLICE, flat.size)).astype(int)]


def group(name: str) -> str:
    """The parameter group of a parameter: the two outermost modules of PyTorch's name."""
    return ".".join(name.split(".")[:-1][:2])


def projections(state: Mapping[str, np.ndarray]) -> np.ndarray:
    """For each group of a PyTorch state, in their names' order, its product with a drawn direction
    and its norm: groups 2.
    """
    sums: dict[str, np.ndarray] = {}
    for name, value in state.items():
        v = np.asarray(value, np.float64)
        found = np.array([np.vdot(v, draw(f"direction of {name}", *v.shape)), np.vdot(v, v)])
        sums[group(name)] = sums.get(group(name), np.zeros(2)) + found
    rows = [[dot, np.sqrt(square)] for _, (dot, square) in sorted(sums.items())]
    return np.array(rows).reshape(-1, 2)  # also where there are none: nets without statistics
