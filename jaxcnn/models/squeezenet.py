"""SqueezeNet: 1x1 convolutions to few channels before all others, a fiftieth of AlexNet's size.

Module names and arithmetic are torchvision's. Version 1.1 has a smaller first layer than the
paper's and pools earlier.

Reference: Iandola et al. (2016), SqueezeNet, table 1, https://arxiv.org/abs/1602.07360; version
1.1: https://github.com/forresti/SqueezeNet.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import global_avg_pool, max_pool
from jaxcnn.models.blocks import Constructor, Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import Conv, Dropout, Step

SQUEEZED = (16, 16, 32, 32, 48, 48, 64, 64)  # the first features of each Fire


class Fire(nn.Module):
    """A 1x1 convolution to few channels; 1x1 and 3x3 to 4 times as many each, side by side."""

    squeezed: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h w 8*squeezed."""
        conv = partial(Conv, dtype=self.dtype)
        x = relu(conv(self.squeezed, (1, 1), name="squeeze")(x))
        one = relu(conv(4 * self.squeezed, (1, 1), name="expand1x1")(x))
        three = relu(conv(4 * self.squeezed, (3, 3), name="expand3x3")(x))
        return jnp.concatenate([one, three], axis=-1)


class SqueezeNet(nn.Module):
    """A convolution with stride 2, eight Fires with pools between, a 1x1 convolution, its mean.

    `pools` are the Fires with a pool before them. With 0 classes the last convolution is left out.
    """

    features: int = 96
    window: int = 7
    pools: tuple[int, ...] = (0, 3, 7)
    num_classes: int = 1000
    drop_rate: float = 0.5
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv = partial(Conv, stride=2, padding=0, dtype=self.dtype)
        layers: list[Constructor] = [
            partial(conv, self.features, (self.window, self.window)),
            partial(Step, relu),
        ]
        for i, squeezed in enumerate(SQUEEZED):
            if i in self.pools:
                layers.append(partial(Step, partial(max_pool, window=3, stride=2, ceil_mode=True)))
            layers.append(partial(Fire, squeezed, dtype=self.dtype))
        x = Sequential(tuple(layers), name="features")(x, train)
        conv = partial(Conv, self.num_classes, (1, 1), dtype=self.dtype)
        logits = (conv, partial(Step, relu)) if self.num_classes else ()
        head = (partial(Dropout, self.drop_rate), *logits, partial(Step, global_avg_pool))
        return Sequential(head, name="classifier")(x, train)


VARIANTS = {
    "squeezenet1_0": Entry(
        SqueezeNet,
        smallest=21,
        stages=("features/1", "features/5", "features/10", "features/12"),
    ),
    "squeezenet1_1": Entry(
        partial(SqueezeNet, features=64, window=3, pools=(0, 2, 4)),
        smallest=17,
        stages=("features/1", "features/4", "features/7", "features/12"),
    ),
}
