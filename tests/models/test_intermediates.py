import jax
from flax import linen as nn

from helpers import array, assert_close
from jaxcnn.functional import relu
from jaxcnn.models import activations, create
from jaxcnn.models.layers import Dense, Step


def test_every_module_in_order_of_the_flow():
    model, x = create("lenet"), array(1, 28, 28, 1)
    variables = model.init(jax.random.key(0), x)
    found = activations(model, variables, x)
    assert list(found) == [
        "conv1", "relu1", "pool1", "conv2", "relu2", "pool2",
        "flatten", "dense1", "relu3", "dense2", "relu4", "logits",
    ]  # fmt: skip
    assert_close(found["logits"], model.apply(variables, x))
    assert_close(found["relu1"], relu(found["conv1"]), "exact")
    jitted = jax.jit(lambda v, x: activations(model, v, x))(variables, x)
    assert list(jitted) == list(found)


def test_nested_and_repeated_modules():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Step(relu, name="relu")(Dense(3, name="dense")(x))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            block = Block(name="block")
            return block(block(x))

    x = array(1, 3)
    model = Net()
    found = activations(model, model.init(jax.random.key(0), x), x)
    assert list(found) == [
        "block/dense", "block/relu", "block", "block/dense:2", "block/relu:2", "block:2",
    ]  # fmt: skip


def test_training_mode_takes_rngs():
    model, x = create("mlp", widths=(8,), drop_rate=0.5), array(4, 2, 2, 1)
    variables = model.init(jax.random.key(0), x)
    found = activations(model, variables, x, train=True, rngs={"dropout": jax.random.key(1)})
    assert (found["dropout1"] == 0).sum() > (found["relu1"] == 0).sum()
