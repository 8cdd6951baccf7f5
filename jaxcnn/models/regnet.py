"""RegNetX and RegNetY: residual bottlenecks whose widths follow a quantised line.

Module names and arithmetic are torchvision's.

Reference: Radosavovic, Kosaraju, Girshick, He & Dollár (2020), Designing network design spaces,
section 3.3 and tables of the appendix, https://arxiv.org/abs/2003.13678.
"""

import math
from functools import partial
from itertools import groupby

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Constructor, ConvNorm, SqueezeExcitation
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import Dense, Step
from jaxcnn.models.widths import make_divisible


def quantised_widths(
    depth: int, initial: int, slope: float, step: float, group_width: int
) -> list[tuple[int, int]]:
    r"""The width and the depth of each stage.

    Block j would have the width u_j = initial + slope j. It gets the nearest power
    initial step^k instead, to a multiple of 8; blocks of the same width are a stage. Stages wider
    than a group are then rounded to whole groups by `make_divisible`, as torchvision does: its
    RegNetX-400MF ends in 400 channels, where the paper's has 384.

    Args:
        depth: blocks in all.
        initial: w_0 of the paper, the width of the first, a multiple of 8.
        slope: w_a, channels more per block.
        step: w_m, the ratio of one power to the next, above 1.
        group_width: channels of a group of the 3x3 convolutions.

    Returns:
        (width, depth) of each stage.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> quantised_widths(13, initial=24, slope=36.44, step=2.49, group_width=8)  # RegNetX-200MF
        [(24, 1), (56, 1), (152, 4), (368, 7)]

    Reference:
        Radosavovic et al. (2020), Designing network design spaces, equations 2 to 4,
        https://arxiv.org/abs/2003.13678.
    """
    if depth < 1 or initial < 8 or initial % 8 or slope < 0 or step <= 1 or group_width < 1:
        raise ValueError(
            "quantised_widths: depth and group_width must be positive, initial a positive multiple "
            f"of 8, slope at least 0 and step above 1, got depth={depth}, initial={initial}, "
            f"slope={slope}, step={step}, group_width={group_width}."
        )
    powers = [round(math.log((initial + slope * j) / initial, step)) for j in range(depth)]
    widths = [8 * round(initial * step**k / 8) for k in powers]
    stages = [(width, len(list(blocks))) for width, blocks in groupby(widths)]
    return [(make_divisible(width, min(group_width, width)), n) for width, n in stages]


class Chain(nn.Module):
    """Modules one after another, each under its own name."""

    layers: tuple[tuple[str, Constructor], ...]

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """x through all of them."""
        for name, layer in self.layers:
            x = layer(name=name)(x, train)
        return x


class GroupedResidual(nn.Module):
    """1x1, 3x3 in groups (with the stride), squeeze and excitation if asked for, 1x1; plus x.

    x is projected where the block changes its shape.
    """

    features: int
    stride: int = 1
    groups: int = 1
    se_ratio: float = 0.0  # channels between the two layers of the excitation, to x's
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv_norm = partial(ConvNorm, self.features, dtype=self.dtype)
        linear = partial(conv_norm, (1, 1), activation=None)
        squeezed = round(self.se_ratio * x.shape[-1])
        excitation = partial(SqueezeExcitation, squeezed, dtype=self.dtype)
        layers: tuple[tuple[str, Constructor], ...] = (
            ("a", partial(conv_norm, (1, 1))),
            ("b", partial(conv_norm, (3, 3), self.stride, self.groups)),
            *([("se", excitation)] if self.se_ratio else []),
            ("c", linear),
        )
        y = Chain(layers, name="f")(x, train)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = linear(stride=self.stride, name="proj")(x, train)
        return relu(x + y)


class RegNet(nn.Module):
    """3x3/2 convolution, stages that halve the resolution, mean over the image, logits.

    The fields of the first line are `quantised_widths`'s; by default RegNetX-400MF's.
    """

    depth: int = 22
    initial: int = 24
    slope: float = 24.48
    step: float = 2.54
    group_width: int = 16
    se_ratio: float = 0.0
    num_classes: int = 1000
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        stages: list[tuple[str, Constructor]] = []
        for width, depth in quantised_widths(
            self.depth, self.initial, self.slope, self.step, self.group_width
        ):
            block = partial(
                GroupedResidual,
                width,
                groups=max(1, width // self.group_width),
                se_ratio=self.se_ratio,
                dtype=self.dtype,
            )
            name = f"block{len(stages) + 1}"
            blocks = ((f"{name}-{j}", partial(block, stride=1 if j else 2)) for j in range(depth))
            stages.append((name, partial(Chain, tuple(blocks))))
        x = ConvNorm(32, (3, 3), 2, dtype=self.dtype, name="stem")(x, train)
        x = Chain(tuple(stages), name="trunk_output")(x, train)
        x = Step(global_avg_pool, name="avgpool")(x)
        return Dense(self.num_classes, dtype=self.dtype, name="fc")(x)


STAGES = ("stem", *(f"trunk_output/block{i}" for i in (1, 2, 3, 4)))
X, Y = 0.0, 0.25  # se_ratio


def _row(
    se_ratio: float, depth: int, initial: int, slope: float, step: float, group_width: int
) -> Entry:
    constructor = partial(
        RegNet,
        depth=depth,
        initial=initial,
        slope=slope,
        step=step,
        group_width=group_width,
        se_ratio=se_ratio,
    )
    return Entry(constructor, stages=STAGES)


VARIANTS = {
    "regnet_x_400mf": _row(X, 22, 24, 24.48, 2.54, 16),
    "regnet_x_800mf": _row(X, 16, 56, 35.73, 2.28, 16),
    "regnet_x_1_6gf": _row(X, 18, 80, 34.01, 2.25, 24),
    "regnet_x_3_2gf": _row(X, 25, 88, 26.31, 2.25, 48),
    "regnet_x_8gf": _row(X, 23, 80, 49.56, 2.88, 120),
    "regnet_x_16gf": _row(X, 22, 216, 55.59, 2.1, 128),
    "regnet_x_32gf": _row(X, 23, 320, 69.86, 2.0, 168),
    "regnet_y_400mf": _row(Y, 16, 48, 27.89, 2.09, 8),
    "regnet_y_800mf": _row(Y, 14, 56, 38.84, 2.4, 16),
    "regnet_y_1_6gf": _row(Y, 27, 48, 20.71, 2.65, 24),
    "regnet_y_3_2gf": _row(Y, 21, 80, 42.63, 2.66, 24),
    "regnet_y_8gf": _row(Y, 17, 192, 76.82, 2.19, 56),
    "regnet_y_16gf": _row(Y, 18, 200, 106.23, 2.48, 112),
    "regnet_y_32gf": _row(Y, 20, 232, 115.89, 2.53, 232),
    "regnet_y_128gf": _row(Y, 27, 456, 160.83, 2.52, 264),
}
