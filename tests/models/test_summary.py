import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcnn.functional import relu
from jaxcnn.functional.shapes import count_parameters, multiply_adds
from jaxcnn.models import create, entry, names, summarize
from jaxcnn.models.layers import BatchNorm, Conv, Dense, Step, flatten


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
