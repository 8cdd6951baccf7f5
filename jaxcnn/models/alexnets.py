"""AlexNet of 2012 in two towers, and the single tower of 2014 that torchvision has weights for.

The first is the paper's: two groups of channels (one for each of its GPUs) that meet in the third
convolution and the dense layers, local response normalization, and 224 pixels that are 227 by its
arithmetic. Its modules have the names of Caffe's model. The second has other widths, no groups and
no normalization; module names and arithmetic are torchvision's. Both average the last feature maps
to 6x6 pixels where the image has another size than the usual.

Reference: Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional
neural networks, sections 3 and 4.2; Krizhevsky (2014), One weird trick for parallelizing
convolutional neural networks, https://arxiv.org/abs/1404.5997.
"""

from functools import partial

from flax import linen as nn
from jax import Array
from jax.typing import DTypeLike

from jaxcnn.functional.activations import relu
from jaxcnn.functional.normalization import local_response_norm
from jaxcnn.functional.pooling import adaptive_avg_pool, max_pool
from jaxcnn.models.blocks import Sequential
from jaxcnn.models.entries import Entry
from jaxcnn.models.layers import Conv, Dense, Dropout, Step, flatten_channels_first

POOL = partial(Step, partial(max_pool, window=3, stride=2))
# n = 5, alpha = 1e-4, k = 2; the paper's alpha is not divided by n.
NORM = partial(Step, partial(local_response_norm, size=5, alpha=5e-4, beta=0.75, k=2.0))
RELU = partial(Step, relu)


class AlexNet2012(nn.Module):
    """Five convolutions, the 2nd, 4th and 5th in two groups; three dense layers; logits."""

    num_classes: int = 1000
    drop_rate: float = 0.5
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv = partial(Conv, dtype=self.dtype)
        dense = partial(Dense, dtype=self.dtype)
        x = conv(96, (11, 11), stride=4, padding=0, name="conv1")(x)
        x = RELU(name="relu1")(x)
        x = POOL(name="pool1")(NORM(name="norm1")(x))
        x = conv(256, (5, 5), groups=2, name="conv2")(x)
        x = RELU(name="relu2")(x)
        x = POOL(name="pool2")(NORM(name="norm2")(x))
        x = RELU(name="relu3")(conv(384, (3, 3), name="conv3")(x))
        x = RELU(name="relu4")(conv(384, (3, 3), groups=2, name="conv4")(x))
        x = RELU(name="relu5")(conv(256, (3, 3), groups=2, name="conv5")(x))
        x = POOL(name="pool5")(x)
        x = Step(partial(adaptive_avg_pool, output_size=6), name="avgpool")(x)
        x = flatten_channels_first(x)
        x = RELU(name="relu6")(dense(4096, name="fc6")(x))
        x = Dropout(self.drop_rate, name="drop6")(x, train)
        x = RELU(name="relu7")(dense(4096, name="fc7")(x))
        x = Dropout(self.drop_rate, name="drop7")(x, train)
        return dense(self.num_classes, name="fc8")(x)


class AlexNet(nn.Module):
    """Five convolutions, mean over 6x6 windows, three dense layers, logits."""

    num_classes: int = 1000
    drop_rate: float = 0.5
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b num_classes."""
        conv, dense = (partial(layer, dtype=self.dtype) for layer in (Conv, Dense))
        drop = partial(Dropout, self.drop_rate)
        features = (
            partial(conv, 64, (11, 11), stride=4, padding=2),
            RELU,
            POOL,
            partial(conv, 192, (5, 5)),
            RELU,
            POOL,
            partial(conv, 384, (3, 3)),
            RELU,
            partial(conv, 256, (3, 3)),
            RELU,
            partial(conv, 256, (3, 3)),
            RELU,
            POOL,
        )
        hidden = partial(dense, 4096)
        head = (drop, hidden, RELU, drop, hidden, RELU, partial(dense, self.num_classes))
        x = Sequential(features, name="features")(x, train)
        x = Step(partial(adaptive_avg_pool, output_size=6), name="avgpool")(x)
        return Sequential(head, name="classifier")(flatten_channels_first(x), train)


VARIANTS = {
    "alexnet": Entry(AlexNet, smallest=63, stages=("features/1", "features/4", "features/11")),
    "alexnet_2012": Entry(
        AlexNet2012, (227, 227, 3), smallest=67, stages=("relu1", "relu2", "relu5")
    ),
}
