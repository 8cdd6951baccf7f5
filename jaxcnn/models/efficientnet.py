"""EfficientNet B0 to B7 and EfficientNetV2.

Module names, batch norm's eps and momentum, and arithmetic are torchvision's.

Reference: Tan & Le (2019), EfficientNet: rethinking model scaling for convolutional neural
networks, table 1, https://arxiv.org/abs/1905.11946; Tan & Le (2021), EfficientNetV2: smaller models
and faster training, table 4, https://arxiv.org/abs/2104.00298.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import silu
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Constructor, ConvNorm, Sequential, SqueezeExcitation
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Dense, Dropout, DropPath, Step
from jaxcnn.models.widths import make_divisible


class MBConv(nn.Module):
    """1x1 expansion, depthwise convolution with the stride, gates of the channels, 1x1 projection.

    An expansion of 1 is left out. The gates are made of a quarter of the block's input channels.
    """

    features: int
    expansion: int
    window: int
    stride: int = 1
    drop_path_rate: float = 0.0
    norm: Constructor = BatchNorm
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv = partial(ConvNorm, activation=silu, norm=self.norm, dtype=self.dtype)
        c = x.shape[-1]
        wide = c * self.expansion
        layers = (
            partial(conv, wide, (1, 1)),
            partial(conv, wide, (self.window, self.window), self.stride, groups=wide),
            partial(SqueezeExcitation, max(1, c // 4), silu, dtype=self.dtype),
            partial(conv, self.features, (1, 1), activation=None),
        )
        y = Sequential(layers if self.expansion > 1 else layers[1:], name="block")(x, train)
        if self.stride > 1 or c != self.features:
            return y
        return x + DropPath(self.drop_path_rate, name="stochastic_depth")(y, train)


class FusedMBConv(nn.Module):
    """A full convolution with the stride in place of expansion and depthwise; 1x1 projection.

    Without expansion (1) the full convolution is all there is.
    """

    features: int
    expansion: int
    window: int
    stride: int = 1
    drop_path_rate: float = 0.0
    norm: Constructor = BatchNorm
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv = partial(ConvNorm, activation=silu, norm=self.norm, dtype=self.dtype)
        c = x.shape[-1]
        full = partial(conv, window=(self.window, self.window), stride=self.stride)
        if self.expansion > 1:
            project = partial(conv, self.features, (1, 1), activation=None)
            layers = (partial(full, c * self.expansion), project)
        else:
            layers = (partial(full, self.features),)
        y = Sequential(layers, name="block")(x, train)
        if self.stride > 1 or c != self.features:
            return y
        return x + DropPath(self.drop_path_rate, name="stochastic_depth")(y, train)


class Stage(NamedTuple):
    """A row of the papers' tables: so many blocks in a row, of which the first has the stride."""

    block: Constructor
    expansion: int
    window: int
    stride: int
    features: int
    depth: int


B0 = (
    Stage(MBConv, 1, 3, 1, 16, 1),
    Stage(MBConv, 6, 3, 2, 24, 2),
    Stage(MBConv, 6, 5, 2, 40, 2),
    Stage(MBConv, 6, 3, 2, 80, 3),
    Stage(MBConv, 6, 5, 1, 112, 3),
    Stage(MBConv, 6, 5, 2, 192, 4),
    Stage(MBConv, 6, 3, 1, 320, 1),
)
V2_S = (
    Stage(FusedMBConv, 1, 3, 1, 24, 2),
    Stage(FusedMBConv, 4, 3, 2, 48, 4),
    Stage(FusedMBConv, 4, 3, 2, 64, 4),
    Stage(MBConv, 4, 3, 2, 128, 6),
    Stage(MBConv, 6, 3, 1, 160, 9),
    Stage(MBConv, 6, 3, 2, 256, 15),
)
V2_M = (
    Stage(FusedMBConv, 1, 3, 1, 24, 3),
    Stage(FusedMBConv, 4, 3, 2, 48, 5),
    Stage(FusedMBConv, 4, 3, 2, 80, 5),
    Stage(MBConv, 4, 3, 2, 160, 7),
    Stage(MBConv, 6, 3, 1, 176, 14),
    Stage(MBConv, 6, 3, 2, 304, 18),
    Stage(MBConv, 6, 3, 1, 512, 5),
)
V2_L = (
    Stage(FusedMBConv, 1, 3, 1, 32, 4),
    Stage(FusedMBConv, 4, 3, 2, 64, 7),
    Stage(FusedMBConv, 4, 3, 2, 96, 7),
    Stage(MBConv, 4, 3, 2, 192, 10),
    Stage(MBConv, 6, 3, 1, 224, 19),
    Stage(MBConv, 6, 3, 2, 384, 25),
    Stage(MBConv, 6, 3, 1, 640, 7),
)


class EfficientNet(nn.Module):
    """3x3/2 convolution, stages of blocks, 1x1 convolution, mean over the image, logits.

    From block to block the rate of dropping the residual path grows evenly from 0 towards
    `drop_path_rate`.
    """

    stages: tuple[Stage, ...] = B0
    stem: int = 32
    head: int = 1280
    num_classes: int = 1000
    drop_rate: float = 0.2
    drop_path_rate: float = 0.2
    norm: Constructor = BatchNorm
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv = partial(ConvNorm, activation=silu, norm=self.norm, dtype=self.dtype)
        x = Sequential(
            (
                partial(conv, self.stem, (3, 3), 2),
                *blocks(self.stages, self.drop_path_rate, self.norm, self.dtype),
                partial(conv, self.head, (1, 1)),
            ),
            name="features",
        )(x, train)
        x = Step(global_avg_pool, name="avgpool")(x)
        head = (
            partial(Dropout, self.drop_rate),
            partial(Dense, self.num_classes, dtype=self.dtype),
        )
        return Sequential(head, name="classifier")(x, train)


def blocks(
    stages: Sequence[Stage], drop_path_rate: float, norm: Constructor, dtype: DTypeLike | None
) -> list[Constructor]:
    """A sequence of blocks for each stage; the rate of block i of all n is i / n of the whole."""
    total = sum(stage.depth for stage in stages)
    sequences: list[Constructor] = []
    first = 0
    for stage in stages:
        layers = tuple(
            partial(
                stage.block,
                stage.features,
                stage.expansion,
                stage.window,
                stride=stage.stride if i == 0 else 1,
                drop_path_rate=drop_path_rate * (first + i) / total,
                norm=norm,
                dtype=dtype,
            )
            for i in range(stage.depth)
        )
        sequences.append(partial(Sequential, layers))
        first += stage.depth
    return sequences


def ends(stages: Sequence[Stage]) -> list[int]:
    """The stages after which the resolution changes, and the last."""
    following = [*(stage.stride for stage in stages[1:]), 2]
    return [i for i, stride in enumerate(following) if stride > 1]


def scaled(stages: Sequence[Stage], width: float, depth: float) -> tuple[Stage, ...]:
    """Stages with their widths and depths multiplied."""
    return tuple(
        stage._replace(
            features=make_divisible(width * stage.features), depth=math.ceil(depth * stage.depth)
        )
        for stage in stages
    )


def _row(
    size: int,
    stages: tuple[Stage, ...],
    stem: int,
    drop_rate: float,
    *,
    head: int = 1280,
    norm: Constructor = BatchNorm,
) -> Entry:
    model = partial(
        EfficientNet, stages=stages, stem=stem, head=head, drop_rate=drop_rate, norm=norm
    )
    return Entry(model, (size, size, 3), stages=tuple(f"features/{i + 1}" for i in ends(stages)))


def _b(
    size: int, width: float, depth: float, drop_rate: float, norm: Constructor = BatchNorm
) -> Entry:
    stages, stem = scaled(B0, width, depth), make_divisible(width * 32)
    return _row(size, stages, stem, drop_rate, head=4 * stages[-1].features, norm=norm)


SLOW = partial(BatchNorm, eps=1e-3, momentum=0.01)
V2 = partial(BatchNorm, eps=1e-3)

VARIANTS = {
    "efficientnet_b0": _b(224, 1.0, 1.0, 0.2),
    "efficientnet_b1": _b(240, 1.0, 1.1, 0.2),
    "efficientnet_b2": _b(288, 1.1, 1.2, 0.3),
    "efficientnet_b3": _b(300, 1.2, 1.4, 0.3),
    "efficientnet_b4": _b(380, 1.4, 1.8, 0.4),
    "efficientnet_b5": _b(456, 1.6, 2.2, 0.4, SLOW),
    "efficientnet_b6": _b(528, 1.8, 2.6, 0.5, SLOW),
    "efficientnet_b7": _b(600, 2.0, 3.1, 0.5, SLOW),
    "efficientnet_v2_s": _row(384, V2_S, 24, 0.2, norm=V2),
    "efficientnet_v2_m": _row(480, V2_M, 24, 0.3, norm=V2),
    "efficientnet_v2_l": _row(480, V2_L, 32, 0.4, norm=V2),
}
