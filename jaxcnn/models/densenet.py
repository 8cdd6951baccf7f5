"""DenseNet with bottlenecks and compression (DenseNet-BC), for ImageNet and for CIFAR.

Module names and arithmetic are torchvision's.

Reference: Huang, Liu, van der Maaten & Weinberger (2017), Densely connected convolutional networks,
section 3 and table 1, https://arxiv.org/abs/1608.06993.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import avg_pool, global_avg_pool, max_pool
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout, Step


class DenseLayer(nn.Module):
    """1x1 convolution to 4 times `growth` features, 3x3 to `growth`, after batch norm and ReLU."""

    growth: int
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h w growth."""
        conv = partial(Conv, use_bias=False, dtype=self.dtype)
        x = relu(BatchNorm(name="norm1")(x, train))
        x = conv(4 * self.growth, (1, 1), name="conv1")(x)
        x = relu(BatchNorm(name="norm2")(x, train))
        x = conv(self.growth, (3, 3), padding=1, name="conv2")(x)
        return Dropout(self.drop_rate, name="dropout")(x, train)


class DenseBlock(nn.Module):
    """Each layer sees the channels of the input and of all layers before it, in this order."""

    depth: int
    growth: int
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h w c+depth*growth."""
        for i in range(self.depth):
            layer = DenseLayer(self.growth, self.drop_rate, self.dtype, name=f"denselayer{i + 1}")
            x = jnp.concatenate([x, layer(x, train)], axis=-1)
        return x


class Transition(nn.Module):
    """1x1 convolution to half of the channels, after batch norm and ReLU, and 2x2/2 mean pool."""

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/2 w/2 c/2."""
        x = relu(BatchNorm(name="norm")(x, train))
        half = x.shape[-1] // 2
        x = Conv(half, (1, 1), use_bias=False, dtype=self.dtype, name="conv")(x)
        return avg_pool(x, 2, stride=2)


class DenseFeatures(nn.Module):
    """Stem of 2 growth features, dense blocks with transitions between them, batch norm.

    The stem of small images is a 3x3 convolution and nothing else.
    """

    growth: int
    depths: tuple[int, ...]
    small: bool = False
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h_out w_out features."""
        conv = partial(Conv, 2 * self.growth, use_bias=False, dtype=self.dtype, name="conv0")
        if self.small:
            x = conv((3, 3), padding=1)(x)
        else:
            x = conv((7, 7), stride=2, padding=3)(x)
            x = Step(relu, name="relu0")(BatchNorm(name="norm0")(x, train))
            x = Step(partial(max_pool, window=3, stride=2, padding=1), name="pool0")(x)
        for i, depth in enumerate(self.depths, start=1):
            if i > 1:
                x = Transition(self.dtype, name=f"transition{i - 1}")(x, train)
            block = partial(DenseBlock, depth, self.growth, self.drop_rate, self.dtype)
            x = block(name=f"denseblock{i}")(x, train)
        return BatchNorm(name=f"norm{len(self.depths) + 1}")(x, train)


class DenseNet(nn.Module):
    """Dense blocks, ReLU, mean over the image, logits."""

    growth: int = 32
    depths: tuple[int, ...] = (6, 12, 24, 16)
    small: bool = False  # images
    num_classes: int = 1000
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        features = DenseFeatures(
            self.growth, self.depths, self.small, self.drop_rate, self.dtype, name="features"
        )
        x = global_avg_pool(relu(features(x, train)))
        return Dense(self.num_classes, dtype=self.dtype, name="classifier")(x)


def _row(growth: int, *depths: int) -> Entry:
    stages = ("relu0", "denseblock1", "denseblock2", "denseblock3", "norm5")
    return Entry(
        partial(DenseNet, growth=growth, depths=depths),
        smallest=29,
        stages=tuple(f"features/{stage}" for stage in stages),
    )


VARIANTS = {
    "densenet121": _row(32, 6, 12, 24, 16),
    "densenet161": _row(48, 6, 12, 36, 24),
    "densenet169": _row(32, 6, 12, 32, 32),
    "densenet201": _row(32, 6, 12, 48, 32),
    "densenet_bc_100_12": Entry(
        partial(DenseNet, growth=12, depths=(16, 16, 16), small=True, num_classes=10),
        (32, 32, 3),
        smallest=4,
        stages=("features/denseblock1", "features/denseblock2", "features/norm4"),
    ),
}
