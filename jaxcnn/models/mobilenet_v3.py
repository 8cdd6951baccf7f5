"""MobileNetV3: inverted residuals with squeeze-and-excitation and hard swish, found by search.

Module names and arithmetic are torchvision's.

Reference: Howard et al. (2019), Searching for MobileNetV3, tables 1 and 2,
https://arxiv.org/abs/1905.02244.
"""

from functools import partial

from flax import linen as nn
from jax import Array
from jax.nn import hard_sigmoid
from jax.typing import DTypeLike

from jaxcnn.functional.activations import hard_swish, relu
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Activation, Constructor, ConvNorm, Sequential, SqueezeExcitation
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Dense, Dropout, Step
from jaxcnn.models.widths import make_divisible

Bottleneck = tuple[int, int, int, bool, Activation, int]
LARGE: tuple[Bottleneck, ...] = (  # window, hidden, features, squeeze, activation, stride: table 1
    (3, 16, 16, False, relu, 1),
    (3, 64, 24, False, relu, 2),
    (3, 72, 24, False, relu, 1),
    (5, 72, 40, True, relu, 2),
    (5, 120, 40, True, relu, 1),
    (5, 120, 40, True, relu, 1),
    (3, 240, 80, False, hard_swish, 2),
    (3, 200, 80, False, hard_swish, 1),
    (3, 184, 80, False, hard_swish, 1),
    (3, 184, 80, False, hard_swish, 1),
    (3, 480, 112, True, hard_swish, 1),
    (3, 672, 112, True, hard_swish, 1),
    (5, 672, 160, True, hard_swish, 2),
    (5, 960, 160, True, hard_swish, 1),
    (5, 960, 160, True, hard_swish, 1),
)
SMALL: tuple[Bottleneck, ...] = (  # table 2
    (3, 16, 16, True, relu, 2),
    (3, 72, 24, False, relu, 2),
    (3, 88, 24, False, relu, 1),
    (5, 96, 40, True, hard_swish, 2),
    (5, 240, 40, True, hard_swish, 1),
    (5, 240, 40, True, hard_swish, 1),
    (5, 120, 48, True, hard_swish, 1),
    (5, 144, 48, True, hard_swish, 1),
    (5, 288, 96, True, hard_swish, 2),
    (5, 576, 96, True, hard_swish, 1),
    (5, 576, 96, True, hard_swish, 1),
)
NORM = partial(BatchNorm, eps=1e-3, momentum=0.01)


class SqueezedResidual(nn.Module):
    """1x1 to `hidden` channels, each channel alone, squeeze and excitation, 1x1 to few."""

    window: int
    hidden: int
    features: int
    squeeze: bool
    activation: Activation
    stride: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv_norm = partial(ConvNorm, norm=NORM, activation=self.activation, dtype=self.dtype)
        layers: list[Constructor] = []
        if self.hidden != x.shape[-1]:
            layers.append(partial(conv_norm, self.hidden, (1, 1)))
        window = (self.window, self.window)
        layers.append(partial(conv_norm, self.hidden, window, self.stride, groups=self.hidden))
        if self.squeeze:
            squeezed = make_divisible(self.hidden // 4)
            gated = partial(SqueezeExcitation, squeezed, gate=hard_sigmoid, dtype=self.dtype)
            layers.append(gated)
        layers.append(partial(conv_norm, self.features, (1, 1), activation=None))
        y = Sequential(tuple(layers), name="block")(x, train)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class MobileNetV3(nn.Module):
    """3x3/2 convolution, inverted residuals, 1x1 convolution, mean, a hidden layer, logits."""

    bottlenecks: tuple[Bottleneck, ...] = LARGE
    hidden: int = 1280
    num_classes: int = 1000
    drop_rate: float = 0.2
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv_norm = partial(ConvNorm, norm=NORM, activation=hard_swish, dtype=self.dtype)
        layers = (
            partial(conv_norm, 16, (3, 3), 2),
            *(partial(SqueezedResidual, *row, dtype=self.dtype) for row in self.bottlenecks),
            partial(conv_norm, 6 * self.bottlenecks[-1][2], (1, 1)),
        )
        x = Sequential(layers, name="features")(x, train)
        x = Step(global_avg_pool, name="avgpool")(x)
        head = (
            partial(Dense, self.hidden, dtype=self.dtype),
            partial(Step, hard_swish),
            partial(Dropout, self.drop_rate),
            partial(Dense, self.num_classes, dtype=self.dtype),
        )
        return Sequential(head, name="classifier")(x, train)


def _row(bottlenecks: tuple[Bottleneck, ...], hidden: int, *stages: int) -> Entry:
    constructor = partial(MobileNetV3, bottlenecks=bottlenecks, hidden=hidden)
    return Entry(constructor, stages=tuple(f"features/{i}" for i in stages))


VARIANTS = {
    "mobilenet_v3_large": _row(LARGE, 1280, 1, 3, 6, 12, 16),
    "mobilenet_v3_small": _row(SMALL, 1024, 0, 1, 3, 8, 12),
}
