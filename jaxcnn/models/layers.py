"""Thin Linen modules: they own the parameters that the functions of `jaxcnn.functional` take.

Every module is called `(x, train)`; those that do the same in training and evaluation leave `train`
unused. Modules with kernels take `dtype`, the type they compute in (None: what their input and
parameters promote to); the others compute in the type of their input. Parameters and batch
statistics stay in float32, or in float64 where they are loaded so.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.convolution import conv
from jaxcnn.functional.dropping import drop_path, dropout
from jaxcnn.functional.initializers import he_normal
from jaxcnn.functional.linear import dense
from jaxcnn.functional.normalization import batch_norm, layer_norm
from jaxcnn.functional.windows import Padding, PerAxis

Initializer = jax.nn.initializers.Initializer


class Conv(nn.Module):
    """`jaxcnn.functional.conv` with a kernel and a bias of its own."""

    features: int
    window: tuple[int, ...]
    stride: PerAxis = 1
    padding: Padding = "SAME"
    dilation: PerAxis = 1
    groups: int = 1
    use_bias: bool = True
    kernel_init: Initializer = he_normal()
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b *space c_in -> b *out features."""
        shape = (*self.window, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = (
            self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        )
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return conv(
            x,
            kernel,
            bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class Dense(nn.Module):
    """`jaxcnn.functional.dense` with a kernel and a bias of its own.

    0 features give x itself: a model of 0 classes ends in what its last layer would have seen.
    """

    features: int
    use_bias: bool = True
    kernel_init: Initializer = he_normal()
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b c_in -> b features."""
        if self.features == 0:
            return x
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = (
            self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        )
        return dense(*promote_dtype(x, kernel, bias, dtype=self.dtype))


class BatchNorm(nn.Module):
    """`jaxcnn.functional.batch_norm` with scale, bias and running statistics ("batch_stats").

    `axis_name` names the mapped axis of devices over which the statistics are shared.
    """

    momentum: float = 0.1
    eps: float = 1e-5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b *space c -> the same shape."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        wide = jnp.promote_types(x.dtype, scale.dtype)
        y, updated = batch_norm(
            x,
            jnp.asarray(scale, wide),  # NumPy's arrays are as good as JAX's
            jnp.asarray(bias, wide),
            jnp.asarray(mean.value),
            jnp.asarray(var.value),
            train=train and not self.is_initializing(),
            momentum=self.momentum,
            eps=self.eps,
            axis_name=self.axis_name,
        )
        if train and not self.is_initializing():
            mean.value, var.value = updated
        return y


class Dropout(nn.Module):
    """`jaxcnn.functional.dropout` with the key of the collection "dropout"."""

    rate: float

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Any shape -> the same shape."""
        key = self.make_rng("dropout") if train and self.rate > 0 else None
        return dropout(key, x, self.rate, train=train and self.rate > 0)


class DropPath(nn.Module):
    """`jaxcnn.functional.drop_path` with the key of the collection "dropout"."""

    rate: float

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Examples along the first axis -> the same shape."""
        key = self.make_rng("dropout") if train and self.rate > 0 else None
        return drop_path(key, x, self.rate, train=train and self.rate > 0)


class LayerNorm(nn.Module):
    """`jaxcnn.functional.layer_norm` over the channels, with scale and bias."""

    eps: float = 1e-5

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """*batch c -> the same shape."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        wide = jnp.promote_types(x.dtype, scale.dtype)
        return layer_norm(x, jnp.asarray(scale, wide), jnp.asarray(bias, wide), eps=self.eps)


class Step(nn.Module):
    """A step without parameters, so that its output has a name: `Step(relu, name="relu1")(x)`."""

    function: Callable[[Array], Array]

    def __call__(self, x: Array, train: bool = False) -> Array:
        """What the function makes of x."""
        return self.function(x)


def flatten(x: Array) -> Array:
    """b *space c -> b (space c), channels fastest."""
    return x.reshape(x.shape[0], -1)


def flatten_channels_first(x: Array) -> Array:
    """b *space c -> b (c space), as PyTorch flattens: kernels trained there fit as they are."""
    return flatten(jnp.moveaxis(x, -1, 1))
