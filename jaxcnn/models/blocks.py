"""What many architectures are built of: sequences, convolution with norm, squeeze and excitation.

Modules inside them have the names that torchvision gives theirs, so that its weights fit by name.
"""

from collections.abc import Callable
from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu, sigmoid
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.layers import BatchNorm, Conv, Step

Activation = Callable[[Array], Array]
Constructor = Callable[..., nn.Module]  # takes `name`; what it builds is called (x, train)


class Sequential(nn.Module):
    """Modules one after another, named 0, 1, 2, ...

    Each is a constructor: `Sequential((partial(Conv, 8, (3, 3)), BatchNorm), name="stem")`.
    """

    layers: tuple[Constructor, ...]

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """x through all of them."""
        for i, layer in enumerate(self.layers):
            x = layer(name=str(i))(x, train)
        return x


class ConvNorm(nn.Module):
    """Convolution without bias (0), batch norm (1), activation (2, None for none).

    The padding is (window - 1) // 2 on either side of each axis, where not given.
    """

    features: int
    window: tuple[int, int] = (3, 3)
    stride: int = 1
    groups: int = 1
    padding: str | None = None
    activation: Activation | None = relu
    norm: Constructor = BatchNorm
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c_in -> b h_out w_out features."""
        x = Conv(
            self.features,
            self.window,
            stride=self.stride,
            padding=self.padding or [((k - 1) // 2, (k - 1) // 2) for k in self.window],
            groups=self.groups,
            use_bias=False,
            dtype=self.dtype,
            name="0",
        )(x)
        x = self.norm(name="1")(x, train)
        return x if self.activation is None else Step(self.activation, name="2")(x)


class SqueezeExcitation(nn.Module):
    """Each channel times a gate in [0, 1], which two 1x1 convolutions make of all channels' means.

    Reference: Hu, Shen & Sun (2018), Squeeze-and-excitation networks, section 3,
    https://arxiv.org/abs/1709.01507.
    """

    squeezed: int
    activation: Activation = relu
    gate: Activation = sigmoid
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> the same shape."""
        conv = partial(Conv, window=(1, 1), dtype=self.dtype)
        means = global_avg_pool(x)[:, None, None, :]
        hidden = self.activation(conv(self.squeezed, name="fc1")(means))
        return x * self.gate(conv(x.shape[-1], name="fc2")(hidden))
