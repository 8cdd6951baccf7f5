import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from helpers import array
from jaxcnn.functional.pooling import max_pool
from jaxcnn.interpret.rectifiers.counts import Rectifiers, count_rectifiers
from jaxcnn.models import create
from jaxcnn.models.table import entry

# What holds comparisons and maxima, and no rectifier.
OTHERS = {
    "logaddexp": lambda x: jnp.logaddexp(x, 0.0) + jnp.logaddexp(0.0, x) + jnp.logaddexp(x, -x),
    "softplus": jax.nn.softplus,
    "log_sigmoid": jax.nn.log_sigmoid,
    "softplus by hand": lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    "mish": jax.nn.mish,
    "logsumexp": jax.nn.logsumexp,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "cross entropy": lambda x: jnp.maximum(x, 0) - x * (x * x) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    "hard_swish": jax.nn.hard_swish,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_swish by hand": lambda x: x * jax.nn.relu6(x + 3) / 6,
    "hard_swish by clip": lambda x: x * jnp.clip(x + 3.0, 0, 6) / 6,
    "hard_sigmoid of Keras": lambda x: jnp.clip(0.2 * x + 0.5, 0, 1),
    "hard_tanh": jax.nn.hard_tanh,
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x) + jax.nn.gelu(x, approximate=False),
    "elu": lambda x: jax.nn.elu(x) + jax.nn.elu(x, 0.5) + jax.nn.selu(x),
    "celu": lambda x: jax.nn.celu(x) + jax.nn.celu(x, 0.5),
    "elu by hand": lambda x: jnp.maximum(x, 0) + jnp.minimum(0, 0.5 * (jnp.exp(x) - 1)),
    "clipped to [0, 1]": lambda x: jnp.clip(x, 0, 1) + lax.clamp(0.0, x, 1.0),
    "clipped to [0, 255]": lambda x: jnp.clip(x, 0, 255) + jnp.maximum(jnp.minimum(x, 255), 0),
    "clipped to [-6, 6]": lambda x: jnp.clip(x, -6, 6),
    "variance": lambda x: jnp.maximum(0.0, (x**2).mean() - x.mean() ** 2),
    "variance by square": lambda x: jnp.maximum(0.0, jnp.square(x).mean() - jnp.square(x.mean())),
    "variance by product": lambda x: (lambda m: jnp.maximum((x * x).mean() - m * m, 0.0))(x.mean()),
    "deviation": lambda x: x / jnp.sqrt(jnp.maximum(0, jnp.var(x, -1, keepdims=True)) + 1e-5),
    "norm": lambda x: lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1), 0)),
    "maximum over an axis": lambda x: x.max(-1) + x.min(-1),
    "max pooling": lambda x: max_pool(x[None], 2) + nn.max_pool(x[None], (2, 2), (2, 2)),
    "abs": lambda x: jnp.abs(x) + jnp.where(x > 0, x, -x),
    "negative part": lambda x: jnp.minimum(x, 0) + jnp.where(x > 0, 0, x),
    "maximum with 1": lambda x: jnp.maximum(x, 1) + jnp.where(x > 1, x, 0),
    "maximum with another": lambda x: jnp.maximum(x, x[::-1]) + jnp.maximum(x, 2 * x),
    "another's sign": lambda x: jnp.where(x[::-1] > 0, x, 0) + x * (x[::-1] > 0),
    "steep": lambda x: jnp.where(x >= 0, x, 2 * x) + jnp.where(x >= 0, x, -1 * x),
    "slope of the input": lambda x: jnp.where(x > 0, x, jnp.tanh(x) * x),
    "of parameters": lambda x: x * jnp.maximum(jnp.arange(-2.0, 2), 0),
    "integers": lambda x: jnp.maximum(x.astype(int), 0),
    "unused": lambda x: (jnp.maximum(x, 0), x)[1],
    "learned threshold": lambda x: jnp.maximum(x, np.array([0.0, 0.5, 0.0, 1.0], np.float32)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_rectifier(name):
    assert count_rectifiers(OTHERS[name], array(4, 4, 4)).total == 0


@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm"])
@pytest.mark.parametrize("fast", [True, False])
def test_normalization_is_no_rectifier(name, fast):
    options = {"use_running_average": False} if name == "BatchNorm" else {}
    if name == "GroupNorm":
        options["num_groups"] = 2
    layer = getattr(nn, name)(use_fast_variance=fast, **options)
    x = jax.ShapeDtypeStruct((2, 3, 3, 4), jnp.float32)
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    counts = []

    def trace(variables):
        counts.append(count_rectifiers(lambda x: layer.apply(variables, x, mutable=True), x))

    jax.eval_shape(trace, variables)
    assert counts[0].total == 0


def test_each_is_counted_by_its_kind():
    def f(x):
        y = jnp.maximum(x, 0) + jax.nn.relu(2 * x)
        return jnp.clip(y - 1, 0, 6) * jax.nn.leaky_relu(x) * jnp.abs(x)

    assert count_rectifiers(f, array(3)) == Rectifiers(relu=2, relu6=1, leaky_relu=1)
    assert count_rectifiers(f, jax.ShapeDtypeStruct((3,), jnp.bfloat16)).total == 4


def test_one_call_twice_is_two():
    relu = jax.jit(lambda x: jnp.where(x > 0, x, 0))
    assert count_rectifiers(lambda x: relu(relu(x) - 1) + relu(x), array(3)).relu == 3


def test_a_relu_under_a_cap_that_is_used_itself_counts_too():
    def f(x):
        y = jnp.maximum(x, 0)
        return jnp.minimum(y, 6), y

    assert count_rectifiers(f, array(3)) == Rectifiers(relu=1, relu6=1, leaky_relu=0)


def test_a_cap_that_does_not_belong_to_relu6_is_by_itself():
    def lower(x):
        return jnp.minimum(jnp.maximum(x, 0).astype(jnp.bfloat16), 6)

    def wider(x):
        return jnp.minimum(jnp.broadcast_to(jnp.maximum(x, 0), (2, 3)), 6)

    def capped_at_20(x):
        return jnp.minimum(jnp.maximum(x, 0), 20)

    def capped_outside(x):
        return jnp.minimum(jax.checkpoint(lambda x: jnp.maximum(jnp.sin(x), 0))(x), 6)

    for f in (lower, wider, capped_at_20, capped_outside):
        assert count_rectifiers(f, array(3)) == Rectifiers(relu=1, relu6=0, leaky_relu=0)


def test_loops_count_once_and_branches_each():
    relu = jax.nn.relu
    x = array(3)
    assert count_rectifiers(lambda x: lax.fori_loop(0, 5, lambda i, x: relu(x) - 1, x), x).relu == 1
    assert count_rectifiers(
        lambda x: lax.while_loop(lambda x: relu(x).sum() > 1, lambda x: relu(x) - 1, x), x
    ) == Rectifiers(2, 0, 0)
    branches = [relu, lambda x: relu(relu(x) - 1), jax.nn.relu6, jnp.sin]
    f = lambda x: lax.switch(x.astype(int)[0], branches, x)  # noqa: E731
    assert count_rectifiers(f, x) == Rectifiers(3, 1, 0)


# Counted in the papers' figures: convolutions and dense layers that a ReLU follows.
MODELS = {
    "lenet": Rectifiers(2 + 2, 0, 0),
    "lenet5": Rectifiers(0, 0, 0),  # tanh
    "convnet": Rectifiers(3 * 2 + 1, 0, 0),
    "alexnet": Rectifiers(5 + 2, 0, 0),
    "vgg11": Rectifiers(8 + 2, 0, 0),
    "resnet18": Rectifiers(1 + 8 * 2, 0, 0),
    "squeezenet1_1": Rectifiers(1 + 8 * 3 + 1, 0, 0),
    "mobilenet_v2": Rectifiers(0, 1 + 1 + 16 * 2 + 1, 0),
}
LARGE = {
    "mobilenet_v3_small": Rectifiers(1 + 2 * 2 + 9, 0, 0),  # and hard_swish
    "convnext_tiny": Rectifiers(0, 0, 0),  # gelu
    "densenet121": Rectifiers(1 + 58 * 2 + 3 + 1, 0, 0),
    "googlenet": Rectifiers(3 + 9 * 6, 0, 0),
    "inception_v3": Rectifiers(94, 0, 0),  # after each convolution
    "efficientnet_lite0": Rectifiers(0, 1 + 1 + 15 * 2 + 1, 0),
    "regnet_x_400mf": Rectifiers(1 + 22 * 3, 0, 0),
}


@pytest.mark.parametrize(
    "name", [*MODELS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_the_zoo(name):
    model = create(name)
    side = entry(name).smallest
    x = jax.ShapeDtypeStruct((1, side, side, entry(name).input_shape[-1]), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    counts = []

    def trace(variables):  # the parameters are shapes alone
        counts.append(count_rectifiers(lambda x: model.apply(variables, x), x))

    jax.eval_shape(trace, variables)
    assert counts == [{**MODELS, **LARGE}[name]]
