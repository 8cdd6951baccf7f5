"""The course's convolutional net: CONV CONV POOL, three times, then dense.

Reference: the pattern of Stanford's CS231n, Convolutional networks, "Layer patterns",
https://cs231n.github.io/convolutional-networks/#layerpat.
"""

from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import max_pool
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout, Step, flatten


class ConvNet(nn.Module):
    """Three stages of two 3x3 convolutions and a 2x2 max pool, a hidden dense layer, logits.

    `hidden=0` leaves the hidden layer out; `batch_norm=True` normalises after each convolution;
    `drop_rate` drops after each stage and after the hidden layer.
    """

    num_classes: int = 10
    widths: tuple[int, ...] = (32, 64, 128)
    hidden: int = 128
    batch_norm: bool = False
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes, h and w at least 8."""
        for i, width in enumerate(self.widths, start=1):
            for j in (1, 2):
                x = Conv(
                    width,
                    (3, 3),
                    use_bias=not self.batch_norm,
                    dtype=self.dtype,
                    name=f"conv{i}_{j}",
                )(x)
                if self.batch_norm:
                    x = BatchNorm(name=f"norm{i}_{j}")(x, train)
                x = Step(relu, name=f"relu{i}_{j}")(x)
            x = Step(partial(max_pool, window=2), name=f"pool{i}")(x)
            if self.drop_rate:
                x = Dropout(self.drop_rate, name=f"dropout{i}")(x, train)
        x = Step(flatten, name="flatten")(x)
        if self.hidden:
            x = Dense(self.hidden, dtype=self.dtype, name="dense")(x)
            x = Step(relu, name="relu")(x)
            if self.drop_rate:
                x = Dropout(self.drop_rate, name="dropout")(x, train)
        return Dense(self.num_classes, dtype=self.dtype, name="logits")(x)
