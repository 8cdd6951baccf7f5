"""ResNet, Wide ResNet (bottlenecks of twice the width) and ResNeXt for ImageNet.

Module names and arithmetic are torchvision's. Its bottleneck has the stride in the 3x3 convolution;
the paper has it in the first 1x1.

Reference: He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition, table 1,
https://arxiv.org/abs/1512.03385; Xie et al. (2017), Aggregated residual transformations for deep
neural networks, table 1, https://arxiv.org/abs/1611.05431; Zagoruyko & Komodakis (2016), Wide
residual networks, https://arxiv.org/abs/1605.07146.
"""

from collections.abc import Callable
from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import global_avg_pool, max_pool
from jaxcnn.models.blocks import ConvNorm, Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Step


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the first has the stride."""

    features: int
    stride: int = 1
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv = partial(Conv, window=(3, 3), padding=1, use_bias=False, dtype=self.dtype)
        y = conv(self.features, stride=self.stride, name="conv1")(x)
        y = relu(BatchNorm(name="bn1")(y, train))
        y = conv(self.features, name="conv2")(y)
        y = BatchNorm(name="bn2")(y, train)
        return relu(y + shortcut(x, self.features, self.stride, self.dtype, train))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride, in groups) and 1x1 convolutions; the last has 4 features."""

    features: int
    stride: int = 1
    groups: int = 1
    group_width: int = 64  # of a group for 64 features
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride 4*features."""
        conv = partial(Conv, use_bias=False, dtype=self.dtype)
        inner = self.features * self.group_width // 64 * self.groups
        y = conv(inner, (1, 1), name="conv1")(x)
        y = relu(BatchNorm(name="bn1")(y, train))
        y = conv(inner, (3, 3), stride=self.stride, padding=1, groups=self.groups, name="conv2")(y)
        y = relu(BatchNorm(name="bn2")(y, train))
        y = conv(4 * self.features, (1, 1), name="conv3")(y)
        y = BatchNorm(name="bn3")(y, train)
        return relu(y + shortcut(x, 4 * self.features, self.stride, self.dtype, train))


def shortcut(x: Array, features: int, stride: int, dtype: DTypeLike | None, train: bool) -> Array:
    """x itself, or projected where the block changes its shape (the paper's option B)."""
    if stride == 1 and x.shape[-1] == features:
        return x
    project = ConvNorm(features, (1, 1), stride, activation=None, dtype=dtype, name="downsample")
    return project(x, train)


class ResNet(nn.Module):
    """7x7/2 convolution, 3x3/2 max pool, four stages of blocks, mean over the image, logits."""

    block: Callable[..., nn.Module] = BasicBlock
    depths: tuple[int, ...] = (2, 2, 2, 2)
    num_classes: int = 1000
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        x = Conv(64, (7, 7), stride=2, padding=3, use_bias=False, dtype=self.dtype, name="conv1")(x)
        x = BatchNorm(name="bn1")(x, train)
        x = Step(relu, name="relu")(x)
        x = Step(partial(max_pool, window=3, stride=2, padding=1), name="maxpool")(x)
        for i, depth in enumerate(self.depths):
            block = partial(self.block, 64 * 2**i, dtype=self.dtype)
            first = partial(block, stride=1 if i == 0 else 2)
            x = Sequential((first, *[block] * (depth - 1)), name=f"layer{i + 1}")(x, train)
        x = Step(global_avg_pool, name="avgpool")(x)
        return Dense(self.num_classes, dtype=self.dtype, name="fc")(x)


def _row(block: Callable[..., nn.Module], *depths: int) -> Entry:
    stages = ("layer1", "layer2", "layer3", "layer4")
    return Entry(partial(ResNet, block=block, depths=depths), stages=stages)


VARIANTS = {
    "resnet18": _row(BasicBlock, 2, 2, 2, 2),
    "resnet34": _row(BasicBlock, 3, 4, 6, 3),
    "resnet50": _row(Bottleneck, 3, 4, 6, 3),
    "resnet101": _row(Bottleneck, 3, 4, 23, 3),
    "resnet152": _row(Bottleneck, 3, 8, 36, 3),
    "wide_resnet50_2": _row(partial(Bottleneck, group_width=128), 3, 4, 6, 3),
    "wide_resnet101_2": _row(partial(Bottleneck, group_width=128), 3, 4, 23, 3),
    "resnext50_32x4d": _row(partial(Bottleneck, groups=32, group_width=4), 3, 4, 6, 3),
    "resnext101_32x8d": _row(partial(Bottleneck, groups=32, group_width=8), 3, 4, 23, 3),
    "resnext101_64x4d": _row(partial(Bottleneck, groups=64, group_width=4), 3, 4, 23, 3),
}
