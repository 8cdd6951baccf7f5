"""LeNet-5 as the paper describes it, except for its last layer.

The paper compares F6 with fixed drawings of the digits (radial basis functions); here ten dense
outputs give logits, as every later net has it.

Reference: LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document
recognition, section II.B, table I and appendix A.
"""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import tanh
from jaxcnn.functional.convolution import conv
from jaxcnn.functional.initializers import lecun_normal
from jaxcnn.functional.pooling import avg_pool
from jaxcnn.models.layers import Conv, Dense, Step, flatten

# Table I: the maps of S2 that each of the 16 maps of C3 sees.
SEEN = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip


def scaled_tanh(x: Array) -> Array:
    """1.7159 tanh(2 x / 3), which takes +-1 to +-1 (appendix A)."""
    return 1.7159 * tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """The mean of each 2x2 window, times a coefficient plus a bias for each map."""

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """b h w c -> b h/2 w/2 c."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        x, scale, bias = promote_dtype(x, scale, bias, dtype=self.dtype)
        return avg_pool(x, 2) * scale + bias


class SparseConv(nn.Module):
    """5x5 convolution from 6 to 16 maps with only the 60 connections of table I."""

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """b h w 6 -> b h-4 w-4 16."""
        sources = np.concatenate(SEEN)
        targets = np.repeat(np.arange(len(SEEN)), [len(maps) for maps in SEEN])
        weights = self.param("kernel", _sparse_normal, (5, 5, len(sources)))
        bias = self.param("bias", nn.initializers.zeros, (len(SEEN),))
        x, weights, bias = promote_dtype(x, weights, bias, dtype=self.dtype)
        kernel = jnp.zeros((5, 5, 6, len(SEEN)), weights.dtype)
        kernel = kernel.at[:, :, sources, targets].set(weights)
        return conv(x, kernel, bias, padding="VALID")


class LeNet5(nn.Module):
    """C1 6@5x5, S2, C3 16@5x5, S4, C5 120@5x5, F6 84; 60,000 parameters before the logits.

    Images of 28x28 pixels are padded to the paper's 32x32.
    """

    num_classes: int = 10
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes, h and w at least 28."""
        options = {"dtype": self.dtype, "kernel_init": lecun_normal()}
        pad = 2 if min(x.shape[1:3]) < 32 else 0
        x = Conv(6, (5, 5), padding=pad, **options, name="c1")(x)
        x = Step(scaled_tanh, name="tanh1")(x)
        x = Subsampling(dtype=self.dtype, name="s2")(x)
        x = Step(scaled_tanh, name="tanh2")(x)
        x = SparseConv(dtype=self.dtype, name="c3")(x)
        x = Step(scaled_tanh, name="tanh3")(x)
        x = Subsampling(dtype=self.dtype, name="s4")(x)
        x = Step(scaled_tanh, name="tanh4")(x)
        x = Conv(120, (5, 5), padding="VALID", **options, name="c5")(x)
        x = Step(scaled_tanh, name="tanh5")(x)
        x = Step(flatten, name="flatten")(x)
        x = Dense(84, **options, name="f6")(x)
        x = Step(scaled_tanh, name="tanh6")(x)
        return Dense(self.num_classes, **options, name="logits")(x)


def _sparse_normal(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    """Normal weights with variance 1 / fan_in, where each map has a fan-in of its own."""
    fan_in = np.repeat([25 * len(maps) for maps in SEEN], [len(maps) for maps in SEEN])
    normal = nn.initializers.normal(1.0)(key, shape, dtype)
    return normal / jnp.sqrt(jnp.asarray(fan_in, dtype))
