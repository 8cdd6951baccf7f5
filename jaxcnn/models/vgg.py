"""VGG: nothing but 3x3 convolutions, in five groups with a pool after each, and dense layers.

Module names and arithmetic are torchvision's, batch norm (`_bn`), which the paper has not, as well.

Reference: Simonyan & Zisserman (2015), Very deep convolutional networks for large-scale image
recognition, table 1 (columns A, B, D, E), https://arxiv.org/abs/1409.1556.
"""

from functools import partial
from itertools import accumulate

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import adaptive_avg_pool, max_pool
from jaxcnn.models.blocks import Constructor, Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout, Step, flatten_channels_first

WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Groups of `depths` convolutions, mean over 7x7 windows, three dense layers, logits."""

    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    batch_norm: bool = False
    num_classes: int = 1000
    drop_rate: float = 0.5
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        activation = partial(Step, relu)
        norm = [BatchNorm] if self.batch_norm else []
        features: list[Constructor] = []
        for width, depth in zip(WIDTHS, self.depths, strict=True):
            conv = partial(Conv, width, (3, 3), dtype=self.dtype)
            features += [conv, *norm, activation] * depth
            features.append(partial(Step, partial(max_pool, window=2)))
        x = Sequential(tuple(features), name="features")(x, train)
        x = Step(partial(adaptive_avg_pool, output_size=7), name="avgpool")(x)
        dense = partial(Dense, dtype=self.dtype)
        hidden = (partial(dense, 4096), activation, partial(Dropout, self.drop_rate))
        head = (*hidden, *hidden, partial(dense, self.num_classes))
        return Sequential(head, name="classifier")(flatten_channels_first(x), train)


def _row(*depths: int, batch_norm: bool = False) -> Entry:
    ends = accumulate(depth * (3 if batch_norm else 2) + 1 for depth in depths)
    stages = tuple(f"features/{end - 2}" for end in ends)  # the activation before each pool
    return Entry(partial(VGG, depths=depths, batch_norm=batch_norm), smallest=32, stages=stages)


VARIANTS = {
    "vgg11": _row(1, 1, 2, 2, 2),
    "vgg13": _row(2, 2, 2, 2, 2),
    "vgg16": _row(2, 2, 3, 3, 3),
    "vgg19": _row(2, 2, 4, 4, 4),
    "vgg11_bn": _row(1, 1, 2, 2, 2, batch_norm=True),
    "vgg13_bn": _row(2, 2, 2, 2, 2, batch_norm=True),
    "vgg16_bn": _row(2, 2, 3, 3, 3, batch_norm=True),
    "vgg19_bn": _row(2, 2, 4, 4, 4, batch_norm=True),
}
