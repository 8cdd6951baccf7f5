"""ResNet for CIFAR, as it was first and with pre-activation.

Depth 6 n + 2 of pairs of 3x3 convolutions, 9 n + 2 of bottlenecks. The pairs' shortcuts are without
parameters (option A).

Reference: He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition, section 4.2,
https://arxiv.org/abs/1512.03385; by the same (2016), Identity mappings in deep residual networks,
appendix, https://arxiv.org/abs/1603.05027, and the authors' code, of which are the bottleneck's
stride in its first 1x1 and what shortcuts start from,
https://github.com/KaimingHe/resnet-1k-layers.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Constructor, Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Step


def padded_shortcut(x: Array, features: int, stride: int) -> Array:
    """Every stride-th pixel, and zeros in the channels that x lacks (option A)."""
    return jnp.pad(x[:, ::stride, ::stride], [(0, 0)] * 3 + [(0, features - x.shape[-1])])


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions, each followed by batch norm; the first has the stride."""

    features: int
    stride: int = 1
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv = partial(Conv, self.features, (3, 3), padding=1, use_bias=False, dtype=self.dtype)
        y = conv(stride=self.stride, name="conv1")(x)
        y = relu(BatchNorm(name="bn1")(y, train))
        y = conv(name="conv2")(y)
        y = BatchNorm(name="bn2")(y, train)
        return relu(y + padded_shortcut(x, self.features, self.stride))


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU; the first has the stride.

    The first of a stage (`opening`) takes its shortcut from the activated input, the others from
    the input itself.
    """

    features: int
    stride: int = 1
    opening: bool = False
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv = partial(Conv, self.features, (3, 3), padding=1, use_bias=False, dtype=self.dtype)
        y = relu(BatchNorm(name="bn1")(x, train))
        shortcut = padded_shortcut(y if self.opening else x, self.features, self.stride)
        y = conv(stride=self.stride, name="conv1")(y)
        y = relu(BatchNorm(name="bn2")(y, train))
        return shortcut + conv(name="conv2")(y)


class PreActBottleneck(nn.Module):
    """1x1 (with the stride), 3x3 and 1x1 to 4 features, each after batch norm and ReLU.

    The first of a stage (`opening`) has a 1x1 convolution of its activated input as its shortcut.
    """

    features: int
    stride: int = 1
    opening: bool = False
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride 4*features."""
        conv = partial(Conv, window=(1, 1), use_bias=False, dtype=self.dtype)
        y = relu(BatchNorm(name="bn1")(x, train))
        if self.opening:
            x = conv(4 * self.features, stride=self.stride, name="downsample")(y)
        y = conv(self.features, stride=self.stride, name="conv1")(y)
        y = relu(BatchNorm(name="bn2")(y, train))
        y = conv(self.features, window=(3, 3), padding=1, name="conv2")(y)
        y = relu(BatchNorm(name="bn3")(y, train))
        return x + conv(4 * self.features, name="conv3")(y)


class CifarResNet(nn.Module):
    """3x3 convolution, three stages of 16, 32 and 64 features, mean over the image, logits."""

    depth: int = 3  # blocks of a stage
    num_classes: int = 10
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        x = Conv(16, (3, 3), padding=1, use_bias=False, dtype=self.dtype, name="conv1")(x)
        x = Step(relu, name="relu")(BatchNorm(name="bn1")(x, train))
        for i in range(3):
            block = partial(PaddedBlock, 16 * 2**i, dtype=self.dtype)
            first = partial(block, stride=1 if i == 0 else 2)
            x = Sequential((first, *[block] * (self.depth - 1)), name=f"layer{i + 1}")(x, train)
        x = Step(global_avg_pool, name="avgpool")(x)
        return Dense(self.num_classes, dtype=self.dtype, name="fc")(x)


class PreActResNet(nn.Module):
    """`CifarResNet` with batch norm and ReLU before convolutions, and after the last stage."""

    block: Constructor = PreActBlock
    depth: int = 18  # blocks of a stage
    num_classes: int = 10
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        x = Conv(16, (3, 3), padding=1, use_bias=False, dtype=self.dtype, name="conv1")(x)
        for i in range(3):
            block = partial(self.block, 16 * 2**i, dtype=self.dtype)
            first = partial(block, stride=1 if i == 0 else 2, opening=True)
            x = Sequential((first, *[block] * (self.depth - 1)), name=f"layer{i + 1}")(x, train)
        x = Step(relu, name="relu")(BatchNorm(name="bn")(x, train))
        x = Step(global_avg_pool, name="avgpool")(x)
        return Dense(self.num_classes, dtype=self.dtype, name="fc")(x)


def _row(model: Constructor) -> Entry:
    return Entry(model, (32, 32, 3), stages=("layer1", "layer2", "layer3"))


VARIANTS = {
    "resnet20": _row(partial(CifarResNet, depth=3)),
    "resnet32": _row(partial(CifarResNet, depth=5)),
    "resnet44": _row(partial(CifarResNet, depth=7)),
    "resnet56": _row(partial(CifarResNet, depth=9)),
    "resnet110": _row(partial(CifarResNet, depth=18)),
    "preact_resnet110": _row(partial(PreActResNet, block=PreActBlock, depth=18)),
    "preact_resnet164": _row(partial(PreActResNet, block=PreActBottleneck, depth=18)),
}
