"""EfficientNet-Lite: EfficientNet without gates and with ReLU6, for integer arithmetic on phones.

Stem, head and the depths of the first and the last stage are the same in all sizes. Module names,
TensorFlow's padding and eps, and rates of 0 by default are those of timm's `tf_efficientnet_lite*`;
the authors trained with a `drop_rate` of 0.2 (Lite0 and 1) or 0.3.

Reference: Tan & Le (2019), EfficientNet: rethinking model scaling for convolutional neural
networks, https://arxiv.org/abs/1905.11946; the authors' EfficientNet-Lite (2020),
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu6
from jaxcnn.functional.pooling import global_avg_pool
from jaxcnn.models.blocks import Constructor, Sequential
from jaxcnn.models.efficientnet import B0, Stage, blocks, ends, scaled
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Dropout, DropPath, Step


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution with the stride, 1x1 projection.

    An expansion of 1 is left out, and the names of what follows it move up.
    """

    features: int
    expansion: int
    window: int
    stride: int = 1
    drop_path_rate: float = 0.0
    norm: Constructor = BatchNorm
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b h/stride w/stride features."""
        conv = partial(Conv, window=(1, 1), use_bias=False, dtype=self.dtype)
        c = x.shape[-1]
        wide = c * self.expansion
        expands = self.expansion > 1
        y = x
        if expands:
            y = conv(wide, name="conv_pw")(y)
            y = relu6(self.norm(name="bn1")(y, train))
        depthwise = partial(conv, window=(self.window, self.window), groups=wide)
        y = depthwise(wide, stride=self.stride, name="conv_dw")(y)
        y = relu6(self.norm(name="bn2" if expands else "bn1")(y, train))
        y = conv(self.features, name="conv_pwl" if expands else "conv_pw")(y)
        y = self.norm(name="bn3" if expands else "bn2")(y, train)
        if self.stride > 1 or c != self.features:
            return y
        return x + DropPath(self.drop_path_rate, name="drop_path")(y, train)


def _stages(width: float, depth: float) -> tuple[Stage, ...]:
    first, *middle, last = (
        stage._replace(block=InvertedResidual) for stage in scaled(B0, width, depth)
    )
    return (first._replace(depth=1), *middle, last._replace(depth=1))


class EfficientNetLite(nn.Module):
    """3x3/2 convolution, stages of blocks, 1x1 convolution, mean over the image, logits.

    From block to block the rate of dropping the residual path grows evenly from 0 towards
    `drop_path_rate`.
    """

    stages: tuple[Stage, ...] = _stages(1.0, 1.0)
    num_classes: int = 1000
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    norm: Constructor = partial(BatchNorm, eps=1e-3)
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv = partial(Conv, use_bias=False, dtype=self.dtype)
        x = conv(32, (3, 3), stride=2, name="conv_stem")(x)
        x = relu6(self.norm(name="bn1")(x, train))
        layers = blocks(self.stages, self.drop_path_rate, self.norm, self.dtype)
        x = Sequential(tuple(layers), name="blocks")(x, train)
        x = conv(1280, (1, 1), name="conv_head")(x)
        x = relu6(self.norm(name="bn2")(x, train))
        x = Step(global_avg_pool, name="global_pool")(x)
        x = Dropout(self.drop_rate, name="dropout")(x, train)
        return Dense(self.num_classes, dtype=self.dtype, name="classifier")(x)


def _row(size: int, width: float, depth: float) -> Entry:
    stages = _stages(width, depth)
    names = tuple(f"blocks/{i}" for i in ends(stages))
    return Entry(partial(EfficientNetLite, stages=stages), (size, size, 3), stages=names)


VARIANTS = {
    "efficientnet_lite0": _row(224, 1.0, 1.0),
    "efficientnet_lite1": _row(240, 1.0, 1.1),
    "efficientnet_lite2": _row(260, 1.1, 1.2),
    "efficientnet_lite3": _row(300, 1.2, 1.4),
    "efficientnet_lite4": _row(380, 1.4, 1.8),
}
