import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn import models
from jaxcnn.models.efficientnet_lite import InvertedResidual


@pytest.mark.parametrize(
    ("size", "padding"),
    [(7, (1, 1)), (8, (0, 1)), (9, (1, 1))],  # TensorFlow's rule: an odd pixel goes to the end
)
def test_stride_2_pads_as_tensorflow_does(x64, size, padding):
    """A depthwise convolution of stride 2, all else the identity, against a plain loop."""
    x = jax.nn.sigmoid(array(1, size, size, 2))  # in (0, 1), where ReLU6 changes nothing
    block = InvertedResidual(2, expansion=1, window=3, stride=2)
    variables = jax.jit(block.init)(jax.random.key(0), x)
    kernel = jnp.abs(variables["params"]["conv_dw"]["kernel"])
    params = variables["params"] | {
        "conv_dw": {"kernel": kernel},
        "conv_pw": {"kernel": jnp.eye(2)[None, None]},
    }
    stats = jax.tree.map(lambda v: v * (1 - 1e-5), variables["batch_stats"])
    y = jax.jit(block.apply)({"params": params, "batch_stats": stats}, x)
    padded = np.pad(x, [(0, 0), padding, padding, (0, 0)])
    n = (size + 1) // 2
    expected = np.empty((1, n, n, 2))
    for i in range(n):
        for j in range(n):
            window = padded[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected[0, i, j] = (window * kernel[:, :, 0]).sum(axis=(0, 1))
    assert_close(y, expected)


@pytest.mark.parametrize("size", [63, 64, 65])
def test_every_stride_rounds_up(size):
    model = models.create("efficientnet_lite0")
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    flow = jax.eval_shape(lambda v, x: models.activations(model, v, x), variables, x)
    stages = models.entry("efficientnet_lite0").stages
    expected = [-(-size // 2**i) for i in (1, 2, 3, 4, 5)]
    assert [flow[stage].shape[1] for stage in stages] == expected


def test_stem_and_head_are_as_wide_in_the_largest():
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    for name in ("efficientnet_lite0", "efficientnet_lite4"):
        model = models.create(name)
        params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
        assert params["conv_stem"]["kernel"].shape == (3, 3, 3, 32)
        assert params["classifier"]["kernel"].shape == (1280, 1000)
        assert [len(params["blocks"][stage]) for stage in ("0", "6")] == [1, 1]
