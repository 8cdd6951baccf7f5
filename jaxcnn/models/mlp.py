"""The multilayer perceptron: dense layers with ReLU between them.

Reference: Rumelhart, Hinton & Williams (1986), Learning representations by back-propagating errors.
"""

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.models.layers import Dense, Dropout, Step, flatten


class MLP(nn.Module):
    """Dense layers of the given widths; by default the 3072-400-100-700-10 net."""

    num_classes: int = 10
    widths: tuple[int, ...] = (400, 100, 700)
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b ... -> b num_classes."""
        x = Step(flatten, name="flatten")(x)
        for i, width in enumerate(self.widths, start=1):
            x = Dense(width, dtype=self.dtype, name=f"dense{i}")(x)
            x = Step(relu, name=f"relu{i}")(x)
            if self.drop_rate:
                x = Dropout(self.drop_rate, name=f"dropout{i}")(x, train)
        return Dense(self.num_classes, dtype=self.dtype, name="logits")(x)
