"""MobileNetV2: thin layers joined by shortcuts, wide depthwise convolutions between them.

Module names and arithmetic are torchvision's.

Reference: Sandler, Howard, Zhu, Zhmoginov & Chen (2018), MobileNetV2: inverted residuals and linear
bottlenecks, table 2, https://arxiv.org/abs/1801.04381.
"""

from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu6
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Constructor, ConvNorm, Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout
from jaxcnn.models.widths import make_divisible

BOTTLENECKS = (  # expansion, features, blocks, stride of the first: table 2
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 of each channel alone, 1x1 to few without activation."""

    features: int
    expansion: int
    stride: int = 1
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv_norm = partial(ConvNorm, activation=relu6, dtype=self.dtype)
        hidden = x.shape[-1] * self.expansion
        expand = [] if self.expansion == 1 else [partial(conv_norm, hidden, (1, 1))]
        depthwise = partial(conv_norm, hidden, (3, 3), self.stride, groups=hidden)
        project = partial(Conv, self.features, (1, 1), use_bias=False, dtype=self.dtype)
        y = Sequential((*expand, depthwise, project, BatchNorm), name="conv")(x, train)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class MobileNetV2(nn.Module):
    """3x3/2 convolution, inverted residuals, 1x1 convolution, mean over the image, logits.

    `width_mult` multiplies all widths; the last layer's only where it is above 1.
    """

    width_mult: float = 1.0
    num_classes: int = 1000
    drop_rate: float = 0.2
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv_norm = partial(ConvNorm, activation=relu6, dtype=self.dtype)
        layers: list[Constructor] = [
            partial(conv_norm, make_divisible(32 * self.width_mult), (3, 3), 2)
        ]
        for expansion, features, blocks, stride in BOTTLENECKS:
            block = partial(
                InvertedResidual,
                make_divisible(features * self.width_mult),
                expansion,
                dtype=self.dtype,
            )
            layers += [partial(block, stride=stride), *[block] * (blocks - 1)]
        layers.append(partial(conv_norm, make_divisible(1280 * max(1, self.width_mult)), (1, 1)))
        x = Sequential(tuple(layers), name="features")(x, train)
        x = global_avg_pool(x)
        head = (
            partial(Dropout, self.drop_rate),
            partial(Dense, self.num_classes, dtype=self.dtype),
        )
        return Sequential(head, name="classifier")(x, train)


STAGES = tuple(f"features/{i}" for i in (1, 3, 6, 13, 18))
VARIANTS = {"mobilenet_v2": Entry(MobileNetV2, stages=STAGES)}
