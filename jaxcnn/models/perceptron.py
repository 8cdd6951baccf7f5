"""The perceptron: one linear unit, or one for each class.

Reference: Rosenblatt (1958), The perceptron: a probabilistic model for information storage and
organization in the brain.
"""

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.initializers import lecun_normal
from jaxcnn.models.layers import Dense, Step, flatten


class Perceptron(nn.Module):
    """Weighted sums of all inputs: logits = x W + b."""

    num_classes: int = 1
    use_bias: bool = True
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b ... -> b num_classes."""
        x = Step(flatten, name="flatten")(x)
        return Dense(
            self.num_classes,
            use_bias=self.use_bias,
            kernel_init=lecun_normal(),
            dtype=self.dtype,
            name="logits",
        )(x)
