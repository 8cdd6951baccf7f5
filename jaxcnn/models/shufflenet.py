"""ShuffleNetV2: half of the channels pass each block untouched, then the halves are interleaved.

Module names and arithmetic are torchvision's.

Reference: Ma, Zhang, Zheng & Sun (2018), ShuffleNet V2: practical guidelines for efficient CNN
architecture design, table 5, https://arxiv.org/abs/1807.11164.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import global_avg_pool, max_pool
from jaxcnn.models.blocks import ConvNorm, Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Step


def channel_shuffle(x: Float[Array, "*b c"], groups: int) -> Float[Array, "*b c"]:
    r"""Deal the channels of `groups` consecutive groups out in turn, as cards.

    y[..., i groups + g] = x[..., g c/groups + i].

    Args:
        x: feature maps, channels last.
        groups: how many; it divides the channels.

    Returns:
        the same channels in another order.

    Raises:
        ValueError: groups that do not divide the channels.

    Example:
        >>> import jax.numpy as jnp
        >>> channel_shuffle(jnp.arange(6.0), 2).tolist()
        [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]

    Reference:
        Zhang, Zhou, Lin & Sun (2018), ShuffleNet, section 3.1, https://arxiv.org/abs/1707.01083.
    """
    *batch, channels = x.shape
    if groups < 1 or channels % groups:
        raise ValueError(
            f"channel_shuffle: groups must divide the channels, got {groups} for {channels}."
        )
    grouped = x.reshape(*batch, groups, channels // groups)
    return jnp.swapaxes(grouped, -1, -2).reshape(x.shape)


class ShuffleUnit(nn.Module):
    """Stride 1: half of the channels as they are. Stride 2: two branches. Then the shuffle."""

    features: int
    stride: int = 1
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        half = self.features // 2
        pointwise = partial(Conv, half, (1, 1), use_bias=False, dtype=self.dtype)
        if self.stride == 1:
            left, right = jnp.split(x, 2, axis=-1)
        else:
            layers = (self._depthwise(x.shape[-1]), BatchNorm, pointwise, BatchNorm)
            left = Sequential((*layers, partial(Step, relu)), name="branch1")(x, train)
            right = x
        layers = (
            *(pointwise, BatchNorm, partial(Step, relu)),
            *(self._depthwise(half), BatchNorm),
            *(pointwise, BatchNorm, partial(Step, relu)),
        )
        right = Sequential(layers, name="branch2")(right, train)
        return channel_shuffle(jnp.concatenate([left, right], axis=-1), 2)

    def _depthwise(self, channels: int) -> partial[Conv]:
        return partial(
            Conv,
            channels,
            (3, 3),
            stride=self.stride,
            padding=1,
            groups=channels,
            use_bias=False,
            dtype=self.dtype,
        )


class ShuffleNetV2(nn.Module):
    """3x3/2 convolution, 3x3/2 max pool, three stages, 1x1 convolution, mean, logits."""

    widths: tuple[int, ...] = (24, 116, 232, 464, 1024)
    num_classes: int = 1000
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        stem, *stages, last = self.widths
        x = ConvNorm(stem, (3, 3), 2, dtype=self.dtype, name="conv1")(x, train)
        x = Step(partial(max_pool, window=3, stride=2, padding=1), name="maxpool")(x)
        for i, (features, units) in enumerate(zip(stages, (4, 8, 4), strict=True)):
            unit = partial(ShuffleUnit, features, dtype=self.dtype)
            layers = (partial(unit, stride=2), *[unit] * (units - 1))
            x = Sequential(layers, name=f"stage{i + 2}")(x, train)
        x = ConvNorm(last, (1, 1), dtype=self.dtype, name="conv5")(x, train)
        x = global_avg_pool(x)
        return Dense(self.num_classes, dtype=self.dtype, name="fc")(x)


def _row(*widths: int) -> Entry:
    stages = ("conv1", "maxpool", "stage2", "stage3", "conv5")
    return Entry(partial(ShuffleNetV2, widths=widths), stages=stages)


VARIANTS = {
    "shufflenet_v2_x0_5": _row(24, 48, 96, 192, 1024),
    "shufflenet_v2_x1_0": _row(24, 116, 232, 464, 1024),
    "shufflenet_v2_x1_5": _row(24, 176, 352, 704, 1024),
    "shufflenet_v2_x2_0": _row(24, 244, 488, 976, 2048),
}
