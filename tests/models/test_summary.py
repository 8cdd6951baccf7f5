import jax
import jax.numpy as jnp
from flax import linen as nn

from helpers import array
from jaxcnn.functional import avg_pool, conv, max_pool, relu
from jaxcnn.functional.shapes import count_parameters, multiply_adds
from jaxcnn.models import create, entry, names, summarize
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Step, flatten
from jaxcnn.models.receptive import receptive_fields


def test_lenet_by_hand():
    layers = {layer.name: layer for layer in summarize(create("lenet"), (28, 28, 1))}
    conv2 = layers["conv2"]
    assert conv2.kind == "Conv"
    assert conv2.output_shape == (10, 10, 16)
    assert conv2.parameters == 5 * 5 * 6 * 16 + 16
    assert conv2.multiply_adds == 10 * 10 * 16 * 5 * 5 * 6
    assert conv2.receptive_field == (14, 14)
    assert layers["pool1"].receptive_field == (6, 6)
    assert layers["pool2"].receptive_field == (16, 16)
    assert layers["dense1"].multiply_adds == 400 * 120
    assert layers["dense1"].receptive_field == (28, 28)
    assert sum(layer.parameters for layer in layers.values()) == 61_706


def test_sums_are_the_models():
    for name in [name for name in names() if not entry(name).stages] + ["alexnet_2012", "resnet18"]:
        model, shape = create(name), entry(name).input_shape
        layers = summarize(model, shape)
        x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        variables = jax.eval_shape(model.init, jax.random.key(0), x)
        assert sum(y.parameters for y in layers) == count_parameters(variables["params"])
        assert sum(y.multiply_adds for y in layers) == multiply_adds(model.apply, variables, x)


class Residual(nn.Module):
    """Two branches that meet: the wider one says how far the sum sees."""

    @nn.compact
    def __call__(self, x, train=False):
        y = Conv(4, (3, 3), stride=2, use_bias=False, name="conv1")(x)
        y = Step(relu, name="relu")(BatchNorm(name="norm")(y, train))
        y = Conv(4, (3, 3), name="conv2")(y)
        short = Conv(4, (1, 1), stride=2, name="short")(x)
        y = Step(lambda y: y + short, name="sum")(y)
        return Dense(2, name="logits")(Step(flatten, name="flatten")(y))


def test_branches_and_names_inside():
    fields = {y.name: y.receptive_field for y in summarize(Residual(), (16, 16, 3))}
    assert fields["short"] == (1, 1)
    assert fields["sum"] == (7, 7)
    assert fields["norm"] == (3, 3)
    assert fields["logits"] == (16, 16)


def test_fields_are_the_support_of_a_gradient():
    def f(kernels, x):
        y = conv(x, kernels[0], stride=2, padding=1)
        y = max_pool(y, 3, stride=2, padding=1)
        y = conv(y, kernels[1], dilation=2)
        return avg_pool(jnp.abs(y), 2, stride=1)

    kernels = (jnp.ones((3, 3, 1, 1)), jnp.ones((3, 3, 1, 1)))
    x = jnp.abs(array(1, 96, 96, 1))
    (field,) = receptive_fields(f, kernels, jax.ShapeDtypeStruct(x.shape, x.dtype))

    def unit(kernels, x):  # the centre; averages where f takes maxima, which see as much
        y = conv(x, kernels[0], stride=2, padding=1)
        y = avg_pool(y, 3, stride=2, padding=1)
        y = conv(y, kernels[1], dilation=2)
        return avg_pool(y, 2, stride=1)[0, 12, 12, 0]

    seen = jax.grad(unit, argnums=1)(kernels, x)[0, :, :, 0] != 0
    assert field == (int(seen.any(1).sum()), int(seen.any(0).sum()))


def test_what_mixes_pixels_sees_the_whole_image():
    x = jax.ShapeDtypeStruct((1, 8, 6, 2), jnp.float32)

    def fields(f):
        return receptive_fields(lambda _, x: f(x), (), x)[0]

    assert fields(lambda x: x.mean((1, 2))) == (8, 6)
    assert fields(lambda x: x - x.mean((1, 2), keepdims=True)) == (8, 6)
    assert fields(lambda x: x[:, ::-1]) == (8, 6)
    assert fields(lambda x: x - x.mean(-1, keepdims=True)) == (1, 1)
    assert fields(lambda x: x @ jnp.ones((2, 3))) == (1, 1)
    assert fields(lambda x: jnp.concatenate([x, x[:, :, :, :1]], -1)) == (1, 1)
