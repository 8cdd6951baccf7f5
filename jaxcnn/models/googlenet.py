"""GoogLeNet (Inception v1): windows of several sizes side by side, and heads half-way for training.

Module names and arithmetic are torchvision's, which differ from the paper's: batch norm after every
convolution, 3x3 convolutions where the paper has 5x5, no response normalization, and auxiliary
heads that average to 4x4 pixels whatever the image's size. torchvision's weights were trained on
pixels in [-1, 1].

Reference: Szegedy et al. (2015), Going deeper with convolutions, table 1 and section 5,
https://arxiv.org/abs/1409.4842.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import adaptive_avg_pool, global_avg_pool, max_pool
from jaxcnn.functional.windows import Padding
from jaxcnn.models.blocks import Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout, Step, flatten_channels_first

BLOCKS = {  # branch1, branch2 (1x1, 3x3), branch3 (1x1, 3x3), branch4: features in table 1
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
HEADS = {"4a": "aux1", "4d": "aux2"}  # the block that each is fed by
POOLS = {"3b": 3, "4e": 2}  # windows of the pools that follow blocks


class BasicConv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    features: int
    window: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: Padding = "SAME"
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h_out w_out features."""
        x = Conv(
            self.features,
            self.window,
            stride=self.stride,
            padding=self.padding,
            use_bias=False,
            dtype=self.dtype,
            name="conv",
        )(x)
        return relu(BatchNorm(eps=0.001, name="bn")(x, train))


class Inception(nn.Module):
    """1x1, 3x3, 3x3 convolutions and a pool, each with a 1x1 convolution, side by side."""

    features: tuple[int, ...]  # a row of BLOCKS
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h w features[0]+features[2]+features[4]+features[5]."""
        conv = partial(BasicConv, dtype=self.dtype)
        one, reduced2, three, reduced3, five, pooled = self.features
        pool = partial(Step, partial(max_pool, window=3, stride=1, padding=1))
        branches = (
            conv(one, name="branch1"),
            Sequential((partial(conv, reduced2), partial(conv, three, (3, 3))), name="branch2"),
            Sequential((partial(conv, reduced3), partial(conv, five, (3, 3))), name="branch3"),
            Sequential((pool, partial(conv, pooled)), name="branch4"),
        )
        return jnp.concatenate([branch(x, train) for branch in branches], axis=-1)


class AuxiliaryHead(nn.Module):
    """Mean over 4x4 windows, 1x1 convolution, two dense layers; it sows its logits."""

    num_classes: int
    drop_rate: float
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        x = BasicConv(128, dtype=self.dtype, name="conv")(adaptive_avg_pool(x, 4), train)
        x = relu(Dense(1024, dtype=self.dtype, name="fc1")(flatten_channels_first(x)))
        x = Dropout(self.drop_rate, name="dropout")(x, train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="fc2")(x)
        if not self.is_initializing():
            self.sow("auxiliary", "logits", logits)
        return logits


class GoogLeNet(nn.Module):
    """Three convolutions, nine Inception blocks, mean over the image, logits.

    In training two auxiliary heads, "aux1" and "aux2", sow their logits into the collection
    "auxiliary"; the paper adds their losses times 0.3. Their dropout has the rate 0.7, and is off
    where `drop_rate` is 0. In torchvision's published file these two heads are untrained: fine-tune
    it with `aux_logits=False`, or train them along.
    """

    aux_logits: bool = True
    num_classes: int = 1000
    drop_rate: float = 0.2
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv = partial(BasicConv, dtype=self.dtype)
        pool = partial(max_pool, window=3, stride=2, ceil_mode=True)
        x = conv(64, (7, 7), stride=2, padding=3, name="conv1")(x, train)
        x = Step(pool, name="maxpool1")(x)
        x = conv(64, name="conv2")(x, train)
        x = conv(192, (3, 3), name="conv3")(x, train)
        x = Step(pool, name="maxpool2")(x)
        for block, features in BLOCKS.items():
            x = Inception(features, dtype=self.dtype, name=f"inception{block}")(x, train)
            if block in HEADS and self.aux_logits and (train or self.is_initializing()):
                drop_rate = 0.7 if self.drop_rate else 0.0
                head = AuxiliaryHead(self.num_classes, drop_rate, self.dtype, name=HEADS[block])
                head(x, train)
            if block in POOLS:
                pool = partial(max_pool, window=POOLS[block], stride=2, ceil_mode=True)
                x = Step(pool, name=f"maxpool{block[0]}")(x)
        x = Step(global_avg_pool, name="avgpool")(x)
        x = Dropout(self.drop_rate, name="dropout")(x, train)
        return Dense(self.num_classes, dtype=self.dtype, name="fc")(x)


STAGES = ("conv1", "conv3", "inception3b", "inception4e", "inception5b")
VARIANTS = {"googlenet": Entry(GoogLeNet, smallest=15, stages=STAGES)}
