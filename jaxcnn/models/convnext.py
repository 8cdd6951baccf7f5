"""ConvNeXt: 7x7 convolutions of each channel alone, layer norm, and GELU between dense layers.

Module names and arithmetic are torchvision's.

Reference: Liu et al. (2022), A ConvNet for the 2020s, table 9 and section 3,
https://arxiv.org/abs/2201.03545.
"""

from functools import partial

import numpy as np
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import gelu
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Constructor, Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import Conv, Dense, DropPath, LayerNorm, Step, flatten

NORM = partial(LayerNorm, eps=1e-6)


class PerPixelMLP(nn.Module):
    """7x7 convolution of each channel alone, layer norm, two dense layers at each pixel.

    The names are the numbers of torchvision's layers, of which 1 and 6 move the axes about.
    """

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> the same shape."""
        c = x.shape[-1]
        conv = partial(Conv, c, (7, 7), padding=3, groups=c, dtype=self.dtype)
        x = NORM(name="2")(conv(name="0")(x))
        x = gelu(Dense(4 * c, dtype=self.dtype, name="3")(x), approximate=False)
        return Dense(c, dtype=self.dtype, name="5")(x)


class ConvNeXtBlock(nn.Module):
    """x plus a branch that starts at next to nothing (layer scale) and is left out at random."""

    drop_path_rate: float
    layer_scale: float
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> the same shape."""
        y = PerPixelMLP(self.dtype, name="block")(x, train)
        start = nn.initializers.constant(self.layer_scale)
        scale = self.param("layer_scale", start, (1, 1, x.shape[-1]))
        y = y * scale.astype(y.dtype)
        return x + DropPath(self.drop_path_rate, name="stochastic_depth")(y, train)


class ConvNeXt(nn.Module):
    """4x4/4 convolution, four stages with 2x2/2 convolutions between them, mean, norm, logits.

    `drop_path_rate` is the last block's; it rises from 0 in equal steps.
    """

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    layer_scale: float = 1e-6
    num_classes: int = 1000
    drop_path_rate: float = 0.1
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv = partial(Conv, padding="VALID", dtype=self.dtype)
        stem = (partial(conv, self.widths[0], (4, 4), stride=4), NORM)
        layers: list[Constructor] = [partial(Sequential, stem)]
        rates = iter(np.linspace(0, self.drop_path_rate, sum(self.depths)).tolist())
        for i, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            if i > 0:
                halve = (NORM, partial(conv, width, (2, 2), stride=2))
                layers.append(partial(Sequential, halve))
            block = partial(ConvNeXtBlock, layer_scale=self.layer_scale, dtype=self.dtype)
            stage = tuple(partial(block, next(rates)) for _ in range(depth))
            layers.append(partial(Sequential, stage))
        x = Sequential(tuple(layers), name="features")(x, train)
        x = Step(global_avg_pool, name="avgpool")(x)
        head = (NORM, partial(Step, flatten), partial(Dense, self.num_classes, dtype=self.dtype))
        return Sequential(head, name="classifier")(x, train)


def _row(depths: tuple[int, ...], width: int, drop_path_rate: float) -> Entry:
    widths = tuple(width * 2**i for i in range(4))
    constructor = partial(ConvNeXt, depths=depths, widths=widths, drop_path_rate=drop_path_rate)
    return Entry(constructor, smallest=32, stages=tuple(f"features/{i}" for i in (1, 3, 5, 7)))


VARIANTS = {
    "convnext_tiny": _row((3, 3, 9, 3), 96, 0.1),
    "convnext_small": _row((3, 3, 27, 3), 96, 0.4),
    "convnext_base": _row((3, 3, 27, 3), 128, 0.5),
    "convnext_large": _row((3, 3, 27, 3), 192, 0.5),
}
