"""LeNet as the courses draw it: two convolutions, two poolings, three dense layers, ReLU.

Reference: after LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to
document recognition; `jaxcnn.models.lenet5` follows the paper itself.
"""

from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.pooling import max_pool
from jaxcnn.models.layers import Conv, Dense, Dropout, Step, flatten


class LeNet(nn.Module):
    """conv 6@5x5, pool, conv 16@5x5, pool, 120, 84, num_classes; 61,706 parameters on 28x28x1."""

    num_classes: int = 10
    drop_rate: float = 0.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes, h and w at least 12."""
        pool = partial(max_pool, window=2)
        x = Conv(6, (5, 5), padding=2, dtype=self.dtype, name="conv1")(x)
        x = Step(relu, name="relu1")(x)
        x = Step(pool, name="pool1")(x)
        x = Conv(16, (5, 5), padding="VALID", dtype=self.dtype, name="conv2")(x)
        x = Step(relu, name="relu2")(x)
        x = Step(pool, name="pool2")(x)
        x = Step(flatten, name="flatten")(x)
        for i, width in enumerate((120, 84), start=1):
            x = Dense(width, dtype=self.dtype, name=f"dense{i}")(x)
            x = Step(relu, name=f"relu{i + 2}")(x)
            if self.drop_rate:
                x = Dropout(self.drop_rate, name=f"dropout{i}")(x, train)
        return Dense(self.num_classes, dtype=self.dtype, name="logits")(x)
