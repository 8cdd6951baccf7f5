"""The smallest useful net: one template for each class, slid over the image."""

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.layers import Conv, Step


class Tiny(nn.Module):
    """A 3x3 convolution with one filter a class, averaged over all places.

    On a 3x3 image there is one place, and the net has nine inputs and three outputs: 30
    parameters with one input channel.
    """

    num_classes: int = 3
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes, h and w at least 3."""
        x = Conv(self.num_classes, (3, 3), padding="VALID", dtype=self.dtype, name="conv")(x)
        return Step(global_avg_pool, name="logits")(x)
