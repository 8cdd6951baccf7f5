"""MnasNet-B1, whose windows, widths and depths a search found for a phone's latency.

Module names and arithmetic are torchvision's.

Reference: Tan et al. (2019), MnasNet: platform-aware neural architecture search for mobile, section
5.1 (without squeeze and excitation), https://arxiv.org/abs/1807.11626.
"""

from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Constructor, Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout, Step
from jaxcnn.models.widths import make_divisible

STACKS = (  # window, expansion, features, blocks, stride of the first
    (3, 3, 24, 3, 2),
    (5, 3, 40, 3, 2),
    (5, 6, 80, 3, 2),
    (3, 6, 96, 2, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)


def conv_norm(
    features: int, window: int, stride: int = 1, groups: int = 1, *, dtype: DTypeLike | None
) -> tuple[Constructor, Constructor]:
    """Convolution without bias, and batch norm with the paper's momentum."""
    conv = partial(
        Conv,
        features,
        (window, window),
        stride=stride,
        padding=window // 2,
        groups=groups,
        use_bias=False,
        dtype=dtype,
    )
    return conv, partial(BatchNorm, momentum=1 - 0.9997)


class FlatInvertedResidual(nn.Module):
    """1x1 to more channels, each channel alone, 1x1 to few, as one sequence of layers."""

    window: int
    expansion: int
    features: int
    stride: int = 1
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        hidden = x.shape[-1] * self.expansion
        layers = (
            *conv_norm(hidden, 1, dtype=self.dtype),
            partial(Step, relu),
            *conv_norm(hidden, self.window, self.stride, hidden, dtype=self.dtype),
            partial(Step, relu),
            *conv_norm(self.features, 1, dtype=self.dtype),
        )
        y = Sequential(layers, name="layers")(x, train)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class MNASNet(nn.Module):
    """3x3/2 and depthwise convolution, six stacks, 1x1 convolution, mean over the image, logits.

    `width_mult` multiplies all widths but the last one's.
    """

    width_mult: float = 1.0
    num_classes: int = 1000
    drop_rate: float = 0.2
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        stem, thin = (make_divisible(features * self.width_mult) for features in (32, 16))
        layers: list[Constructor] = [
            *conv_norm(stem, 3, 2, dtype=self.dtype),
            partial(Step, relu),
            *conv_norm(stem, 3, 1, stem, dtype=self.dtype),
            partial(Step, relu),
            *conv_norm(thin, 1, dtype=self.dtype),
        ]
        for window, expansion, features, blocks, stride in STACKS:
            width = make_divisible(features * self.width_mult)
            block = partial(FlatInvertedResidual, window, expansion, width, dtype=self.dtype)
            stack = (partial(block, stride=stride), *[block] * (blocks - 1))
            layers.append(partial(Sequential, stack))
        layers += [*conv_norm(1280, 1, dtype=self.dtype), partial(Step, relu)]
        x = Sequential(tuple(layers), name="layers")(x, train)
        x = global_avg_pool(x)
        head = (
            partial(Dropout, self.drop_rate),
            partial(Dense, self.num_classes, dtype=self.dtype),
        )
        return Sequential(head, name="classifier")(x, train)


def _row(width_mult: float) -> Entry:
    stages = tuple(f"layers/{i}" for i in (7, 8, 9, 11, 16))
    return Entry(partial(MNASNet, width_mult=width_mult), stages=stages)


VARIANTS = {
    "mnasnet0_5": _row(0.5),
    "mnasnet0_75": _row(0.75),
    "mnasnet1_0": _row(1.0),
    "mnasnet1_3": _row(1.3),
}
