"""Wide ResNet for CIFAR: `wrn_28_10` is 28 layers deep and 10 times as wide as `resnet20`.

Depth 6 n + 4 of n blocks in each of three stages. Module names are those of
https://github.com/xternalz/WideResNet-pytorch.

Reference: Zagoruyko & Komodakis (2016), Wide residual networks, table 1 and section 2.4 (dropout),
https://arxiv.org/abs/1605.07146.
"""

from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout, Step


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU, and dropout between them.

    Where the number of channels changes, the shortcut is a 1x1 convolution of the activated input.
    """

    features: int
    stride: int = 1
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv = partial(Conv, self.features, use_bias=False, dtype=self.dtype)
        y = relu(BatchNorm(name="bn1")(x, train))
        if x.shape[-1] != self.features:
            x = conv((1, 1), stride=self.stride, name="convShortcut")(y)
        y = conv((3, 3), stride=self.stride, padding=1, name="conv1")(y)
        y = relu(BatchNorm(name="bn2")(y, train))
        y = Dropout(self.drop_rate, name="dropout")(y, train)
        return x + conv((3, 3), padding=1, name="conv2")(y)


class WideStage(nn.Module):
    """Blocks in a row, of which the first has the stride."""

    features: int
    stride: int
    depth: int
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        block = partial(WideBlock, self.features, drop_rate=self.drop_rate, dtype=self.dtype)
        first = partial(block, stride=self.stride)
        return Sequential((first, *[block] * (self.depth - 1)), name="layer")(x, train)


class WideResNet(nn.Module):
    """3x3 convolution, three stages of wide blocks, batch norm and ReLU, mean, logits."""

    depth: int = 4  # blocks of a stage
    width: int = 10  # times 16, 32 and 64 features
    num_classes: int = 10
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        x = Conv(16, (3, 3), padding=1, use_bias=False, dtype=self.dtype, name="conv1")(x)
        for i, stride in enumerate((1, 2, 2)):
            features = 16 * 2**i * self.width
            stage = WideStage(
                features, stride, self.depth, self.drop_rate, self.dtype, name=f"block{i + 1}"
            )
            x = stage(x, train)
        x = Step(relu, name="relu")(BatchNorm(name="bn1")(x, train))
        x = Step(global_avg_pool, name="avgpool")(x)
        return Dense(self.num_classes, dtype=self.dtype, name="fc")(x)


def _row(layers: int, width: int) -> Entry:
    model = partial(WideResNet, depth=(layers - 4) // 6, width=width)
    return Entry(model, (32, 32, 3), stages=("block1", "block2", "block3"))


VARIANTS = {
    "wrn_16_4": _row(16, 4),
    "wrn_28_10": _row(28, 10),
    "wrn_40_4": _row(40, 4),
}
