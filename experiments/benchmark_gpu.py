"""ResNet-50 on a GPU in bfloat16: our training loop beside PyTorch's compiled step, by turns.

Both train on random images that lie on the GPU, 224x224 in batches of 256, by SGD with momentum,
with parameters in float32. Ours is `fit` as it is, a compiled loop over resident data, in the
seconds that it logs. PyTorch's is torchvision's model in channels_last under bfloat16 autocast,
model and loss compiled, with the fused optimizer, in a process of its own on the same GPU. The peak
is that of a product of bfloat16 matrices, measured beside them; a step's FLOPs are XLA's count for
the program before any optimization.

Command:  python experiments/benchmark_gpu.py   (--torch PYTHON: one that has PyTorch, if not this)
Hardware: one GPU of at least 64 GB; without one it ends with an error, but --smoke runs on a CPU
Time:     about 5 min
Result:   none recorded: no GPU was at hand when it was written; only --smoke has run, on a CPU
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jax import Array, lax
from recording import record
from timing import TORCH, Peer, elapsed

from jaxcnn import data, lowering, models
from jaxcnn.train import State, create_state, fit, train_step


@dataclass(frozen=True)
class Config:
    """What to run."""

    model: str = "resnet50"
    """A model of ours and of torchvision's."""
    batch: int = 256
    """Images in a step."""
    size: int = 224
    """Pixels along a side."""
    steps: int = 48
    """Steps in a turn."""
    turns: int = 10
    """Turns of each, after one that is not counted."""
    torch: str = TORCH
    """A Python that has PyTorch and torchvision, this one or another; none where empty."""
    smoke: bool = False
    """Two steps of a tiny model on a CPU, nothing written."""


SMOKE = Config("tiny", batch=4, size=8, steps=2, turns=1, torch="", smoke=True)


def prepare(images: Any) -> Array:
    """Pixels 0 to 255 as bfloat16, mean 0 and deviation 1."""
    return jnp.asarray(data.normalize(images, (0.5,) * 3, (0.29,) * 3), jnp.bfloat16)


def fresh(config: Config) -> State:
    """Our model's state before its first step."""
    x = jax.ShapeDtypeStruct((1, config.size, config.size, 3), jnp.bfloat16)
    model = models.create(config.model, num_classes=1000, dtype=jnp.bfloat16)
    return create_state(model, optax.sgd(0.01, 0.9), jax.random.key(0), x)


def our_turn(config: Config) -> Callable[[], float]:
    """An epoch of `fit`."""
    rng = np.random.default_rng(0)
    shape = (config.batch * config.steps, config.size, config.size, 3)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    split = data.Split(pixels, rng.integers(0, 10, len(pixels)).astype(np.int32))
    state, key = fresh(config), jax.random.key(1)

    def turn() -> float:
        found = fit(state, split, None, epochs=1, batch_size=config.batch, key=key, prepare=prepare)
        return found.history[-1]["seconds"]

    return turn


def flops(config: Config) -> float:
    """Of a training step."""
    batch = {
        "image": jax.ShapeDtypeStruct((config.batch, config.size, config.size, 3), jnp.bfloat16),
        "label": jax.ShapeDtypeStruct((config.batch,), jnp.int32),
    }
    with lowering.use("xla"):
        cost: Any = train_step.lower(fresh(config), batch).cost_analysis()
    return float(cost["flops"])


def matrix_peak(n: int, repeats: int = 50, turns: int = 5) -> float:
    """FLOP/s of products of two n x n matrices of bfloat16, the best turn's."""
    a, b = jax.random.normal(jax.random.key(0), (2, n, n), jnp.bfloat16)
    b = b / n**0.5  # the product stays of the size of a

    @jax.jit
    def products(a: Array, b: Array) -> Array:
        return lax.fori_loop(0, repeats, lambda _, x: x @ b, a)

    products(a, b).block_until_ready()
    best = min(elapsed(lambda: products(a, b).block_until_ready()) for _ in range(turns))
    return 2 * n**3 * repeats / best


def main(config: Config) -> dict[str, Any]:
    """Images a second of both, their ratio, and the share of the measured peak."""
    if config.smoke:
        config = SMOKE
    elif jax.default_backend() != "gpu":
        sys.exit(
            f"benchmark_gpu: needs a GPU that JAX sees, found only {jax.devices()[0].device_kind}."
        )
    peak = matrix_peak(64 if config.smoke else 8192)
    calls = {"fit": our_turn(config)}
    if config.torch:
        peer = Peer(config.torch)
        given = {"name": config.model, "batch": config.batch, "size": config.size}
        steps = peer.calls("amp", **given, steps=config.steps)["steps"]
        calls["torch_compile"] = partial(elapsed, steps)
    taken: dict[str, list[float]] = {kind: [] for kind in calls}
    for turn in range(config.turns + 1):
        for kind, call in calls.items():
            seconds = call()
            if turn:
                taken[kind].append(seconds)
    images = config.batch * config.steps
    result: dict[str, Any] = {f"{k} images/s": images / median(t) for k, t in taken.items()}
    if config.torch:
        ratios = [b / a for a, b in zip(taken["fit"], taken["torch_compile"], strict=True)]
        result["fit rate over torch_compile"] = median(ratios)
    rate = flops(config) * config.steps / median(taken["fit"])
    result |= {"peak TFLOP/s": peak / 1e12, "fit TFLOP/s": rate / 1e12, "share": rate / peak}
    record("benchmark_gpu", result, config.smoke)
    return result


if __name__ == "__main__":
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")  # the rest is PyTorch's
    main(tyro.cli(Config))
