import jax
import jax.numpy as jnp

from helpers import assert_close
from jaxcnn import models
from jaxcnn.functional.shapes import count_parameters
from jaxcnn.models.alexnets import NORM


def shapes(name, size):
    """Of the kernels and of what flows through the model."""
    model = models.create(name)
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    flow = jax.eval_shape(lambda v, x: models.activations(model, v, x), variables, x)
    return variables["params"], {k: y.shape for k, y in flow.items()}


def test_the_paper_s_parameters_and_sizes():
    """The kernels of sections 3.5 and 3.2: layers 2, 4 and 5 see the maps of their own tower."""
    params, flow = shapes("alexnet_2012", 227)
    assert count_parameters(params) == 60_965_224
    assert {k: v["kernel"].shape for k, v in params.items()} == {
        "conv1": (11, 11, 3, 96),
        "conv2": (5, 5, 48, 256),
        "conv3": (3, 3, 256, 384),
        "conv4": (3, 3, 192, 384),
        "conv5": (3, 3, 192, 256),
        "fc6": (6 * 6 * 256, 4096),
        "fc7": (4096, 4096),
        "fc8": (4096, 1000),
    }
    pools = [flow[name][1:] for name in ("conv1", "pool1", "pool2", "pool5")]
    assert pools == [(55, 55, 96), (27, 27, 96), (13, 13, 256), (6, 6, 256)]


def test_the_paper_s_response_normalization():
    """a / (2 + 1e-4 (sum of squares two channels up and down))^0.75: section 3.3."""
    a = jnp.zeros(9).at[jnp.array([1, 3, 6])].set(jnp.array([100.0, 200.0, 300.0]))
    y = NORM().apply({}, a.reshape(1, 1, 1, 9)).ravel()
    assert_close(y[1], 100 / (2 + 1 + 4) ** 0.75)  # sees itself and 200
    assert_close(y[3], 200 / (2 + 1 + 4) ** 0.75)  # 300 is three channels up
    assert_close(y[6], 300 / (2 + 9) ** 0.75)


def test_the_single_tower_s_sizes():
    _, flow = shapes("alexnet", 224)
    pools = [flow[f"features/{i}"][1:] for i in (0, 2, 5, 12)]
    assert pools == [(55, 55, 64), (27, 27, 64), (13, 13, 192), (6, 6, 256)]
    _, flow = shapes("alexnet", 300)
    assert flow["features/12"] == (1, 8, 8, 256)
    assert flow["avgpool"] == (1, 6, 6, 256)
