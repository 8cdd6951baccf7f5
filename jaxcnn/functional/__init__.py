"""Layers as pure functions of arrays: batches first, channels last."""

from jaxcnn.functional import initializers, shapes
from jaxcnn.functional.activations import (
    elu,
    gelu,
    hard_swish,
    leaky_relu,
    log_softmax,
    maxout,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from jaxcnn.functional.convolution import (
    conv,
    conv_transpose,
    locally_connected,
    normalized_cross_correlation,
)
from jaxcnn.functional.dropping import drop_path, dropout, spatial_dropout
from jaxcnn.functional.linear import dense
from jaxcnn.functional.pooling import (
    adaptive_avg_pool,
    avg_pool,
    global_avg_pool,
    max_pool,
    max_pool_with_argmax,
    max_unpool,
)

__all__ = [
    "adaptive_avg_pool",
    "avg_pool",
    "conv",
    "conv_transpose",
    "dense",
    "drop_path",
    "dropout",
    "elu",
    "gelu",
    "global_avg_pool",
    "hard_swish",
    "initializers",
    "leaky_relu",
    "locally_connected",
    "log_softmax",
    "max_pool",
    "max_pool_with_argmax",
    "max_unpool",
    "maxout",
    "normalized_cross_correlation",
    "relu",
    "relu6",
    "shapes",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "spatial_dropout",
    "tanh",
]
