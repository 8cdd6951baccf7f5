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
)
from jaxcnn.functional.correlation import normalized_cross_correlation
from jaxcnn.functional.dropping import drop_path, dropout, spatial_dropout
from jaxcnn.functional.linear import dense
from jaxcnn.functional.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    mean_subtraction,
)
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
    "batch_norm",
    "conv",
    "conv_transpose",
    "dense",
    "drop_path",
    "dropout",
    "elu",
    "gelu",
    "global_avg_pool",
    "group_norm",
    "hard_swish",
    "initializers",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "local_response_norm",
    "locally_connected",
    "log_softmax",
    "max_pool",
    "max_pool_with_argmax",
    "max_unpool",
    "maxout",
    "mean_subtraction",
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
