"""Inception v3: large windows factored into small and one-sided ones, side by side.

Module names and arithmetic are torchvision's. Its weights were trained on pixels in [-1, 1].

Reference: Szegedy, Vanhoucke, Ioffe, Shlens & Wojna (2016), Rethinking the Inception architecture
for computer vision, table 1, https://arxiv.org/abs/1512.00567.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.pooling import avg_pool, global_avg_pool, max_pool
from jaxcnn.models.entries import Entry
from jaxcnn.models.googlenet import BasicConv
from jaxcnn.models.layers import Dense, Dropout, Step

POOL = partial(Step, partial(max_pool, window=3, stride=2))
MEANS = partial(Step, partial(avg_pool, window=3, stride=1, padding=1))


def side_by_side(x: Array, train: bool, *branches: tuple[nn.Module, ...]) -> Array:
    """The channels of all branches; a branch is modules one after another."""
    outputs = []
    for branch in branches:
        y = x
        for module in branch:
            y = module(y, train)
        outputs.append(y)
    return jnp.concatenate(outputs, axis=-1)


class InceptionA(nn.Module):
    """1x1, 5x5, twice 3x3, and means, each with a 1x1 convolution (figure 5)."""

    pooled: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h w 224+pooled."""
        conv = partial(BasicConv, dtype=self.dtype)
        return side_by_side(
            x,
            train,
            (conv(64, name="branch1x1"),),
            (conv(48, name="branch5x5_1"), conv(64, (5, 5), name="branch5x5_2")),
            (
                conv(64, name="branch3x3dbl_1"),
                conv(96, (3, 3), name="branch3x3dbl_2"),
                conv(96, (3, 3), name="branch3x3dbl_3"),
            ),
            (MEANS(name="means"), conv(self.pooled, name="branch_pool")),
        )


class InceptionB(nn.Module):
    """Half the resolution: 3x3, twice 3x3, and maxima (figure 10)."""

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/2 w/2 480+c."""
        conv = partial(BasicConv, dtype=self.dtype)
        halved = partial(conv, window=(3, 3), stride=2, padding="VALID")
        return side_by_side(
            x,
            train,
            (halved(384, name="branch3x3"),),
            (
                conv(64, name="branch3x3dbl_1"),
                conv(96, (3, 3), name="branch3x3dbl_2"),
                halved(96, name="branch3x3dbl_3"),
            ),
            (POOL(name="maxpool"),),
        )


class InceptionC(nn.Module):
    """1x1, 7x7, twice 7x7, and means; 7x7 factored into 1x7 and 7x1 (figure 6)."""

    features: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h w 768."""
        conv = partial(BasicConv, dtype=self.dtype)
        n = self.features
        return side_by_side(
            x,
            train,
            (conv(192, name="branch1x1"),),
            (
                conv(n, name="branch7x7_1"),
                conv(n, (1, 7), name="branch7x7_2"),
                conv(192, (7, 1), name="branch7x7_3"),
            ),
            (
                conv(n, name="branch7x7dbl_1"),
                conv(n, (7, 1), name="branch7x7dbl_2"),
                conv(n, (1, 7), name="branch7x7dbl_3"),
                conv(n, (7, 1), name="branch7x7dbl_4"),
                conv(192, (1, 7), name="branch7x7dbl_5"),
            ),
            (MEANS(name="means"), conv(192, name="branch_pool")),
        )


class InceptionD(nn.Module):
    """Half the resolution: 3x3, factored 7x7 and 3x3, and maxima."""

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/2 w/2 512+c."""
        conv = partial(BasicConv, dtype=self.dtype)
        halved = partial(conv, window=(3, 3), stride=2, padding="VALID")
        return side_by_side(
            x,
            train,
            (conv(192, name="branch3x3_1"), halved(320, name="branch3x3_2")),
            (
                conv(192, name="branch7x7x3_1"),
                conv(192, (1, 7), name="branch7x7x3_2"),
                conv(192, (7, 1), name="branch7x7x3_3"),
                halved(192, name="branch7x7x3_4"),
            ),
            (POOL(name="maxpool"),),
        )


class InceptionE(nn.Module):
    """1x1, 3x3, twice 3x3, and means; the last 3x3 spread into 1x3 beside 3x1 (figure 7)."""

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h w 2048."""
        conv = partial(BasicConv, dtype=self.dtype)
        row, column = (partial(conv, 384, window=window) for window in ((1, 3), (3, 1)))
        three = conv(384, name="branch3x3_1")(x, train)
        twice = conv(448, name="branch3x3dbl_1")(x, train)
        twice = conv(384, (3, 3), name="branch3x3dbl_2")(twice, train)
        outputs = (
            conv(320, name="branch1x1")(x, train),
            row(name="branch3x3_2a")(three, train),
            column(name="branch3x3_2b")(three, train),
            row(name="branch3x3dbl_3a")(twice, train),
            column(name="branch3x3dbl_3b")(twice, train),
            conv(192, name="branch_pool")(MEANS(name="means")(x), train),
        )
        return jnp.concatenate(outputs, axis=-1)


class AuxiliaryHead(nn.Module):
    """Means of 5x5 windows, 1x1 and 5x5 convolutions, mean over the image; it sows its logits."""

    num_classes: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv = partial(BasicConv, dtype=self.dtype)
        x = conv(128, name="conv0")(avg_pool(x, 5, stride=3), train)
        x = conv(768, (5, 5), padding="VALID", name="conv1")(x, train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="fc")(global_avg_pool(x))
        if not self.is_initializing():
            self.sow("auxiliary", "logits", logits)
        return logits


class InceptionV3(nn.Module):
    """Five convolutions, eleven Inception blocks, mean over the image, logits.

    In training an auxiliary head, "AuxLogits", sows its logits into the collection "auxiliary".
    It needs images of 299 pixels or more; smaller ones can be trained on with `aux_logits=False`,
    and evaluated in any case.

    Raises:
        ValueError: images of less than 299 pixels in training with the auxiliary head.
    """

    aux_logits: bool = True
    num_classes: int = 1000
    drop_rate: float = 0.5
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        size = x.shape[1:3]
        conv = partial(BasicConv, dtype=self.dtype)
        x = conv(32, (3, 3), stride=2, padding="VALID", name="Conv2d_1a_3x3")(x, train)
        x = conv(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x, train)
        x = conv(64, (3, 3), name="Conv2d_2b_3x3")(x, train)
        x = POOL(name="maxpool1")(x)
        x = conv(80, name="Conv2d_3b_1x1")(x, train)
        x = conv(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x, train)
        x = POOL(name="maxpool2")(x)
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = InceptionA(pooled, dtype=self.dtype, name=name)(x, train)
        x = InceptionB(dtype=self.dtype, name="Mixed_6a")(x, train)
        for letter, features in zip("bcde", (128, 160, 160, 192), strict=True):
            x = InceptionC(features, dtype=self.dtype, name=f"Mixed_6{letter}")(x, train)
        if self.aux_logits and (train or self.is_initializing()):
            self._head(x, size, train)
        x = InceptionD(dtype=self.dtype, name="Mixed_7a")(x, train)
        x = InceptionE(dtype=self.dtype, name="Mixed_7b")(x, train)
        x = InceptionE(dtype=self.dtype, name="Mixed_7c")(x, train)
        x = Step(global_avg_pool, name="avgpool")(x)
        x = Dropout(self.drop_rate, name="dropout")(x, train)
        return Dense(self.num_classes, dtype=self.dtype, name="fc")(x)

    def _head(self, x: Array, size: tuple[int, ...], train: bool) -> None:
        if self.is_initializing():  # its parameters fit images of any size
            x = jnp.zeros((1, 17, 17, x.shape[-1]), x.dtype)
        elif min(size) < 299:
            raise ValueError(
                "InceptionV3: training with the auxiliary head needs images of 299 pixels or more, "
                f"got {size[0]}x{size[1]}; aux_logits=False trains on smaller ones."
            )
        AuxiliaryHead(self.num_classes, dtype=self.dtype, name="AuxLogits")(x, train)


STAGES = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")
VARIANTS = {"inception_v3": Entry(InceptionV3, (299, 299, 3), smallest=75, stages=STAGES)}
