from functools import cache, partial

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from helpers import array
from jaxcnn import models
from jaxcnn.models.efficientnet import MBConv
from jaxcnn.models.layers import BatchNorm, DropPath


def modules(name, kind):
    """Path -> module, of all modules of a kind inside a model, in the order of their calls."""
    return {path: module for path, module in all_modules(name).items() if isinstance(module, kind)}


@cache  # tracing takes seconds
def all_modules(name):
    """Path -> module, without computing anything; of V2 with stochastic depth."""
    options = {"drop_path_rate": 0.4} if name == "efficientnet_v2_s" else {}
    found = {}

    def interceptor(call, args, kwargs, context):
        found.setdefault("/".join(context.module.path), context.module)
        return call(*args, **kwargs)

    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    with nn.intercept_methods(interceptor):
        jax.eval_shape(models.create(name, **options).init, jax.random.key(0), x)
    return found


def test_drop_path_grows_from_block_to_block():
    """B0 has 16 blocks in stages of 1, 2, 2, 3, 3, 4 and 1; the first of each has no shortcut."""
    found = modules("efficientnet_b0", DropPath)
    rates = {path.removesuffix("/stochastic_depth"): m.rate for path, m in found.items()}
    assert rates == {
        "features/2/1": pytest.approx(0.2 * 2 / 16),
        "features/3/1": pytest.approx(0.2 * 4 / 16),
        "features/4/1": pytest.approx(0.2 * 6 / 16),
        "features/4/2": pytest.approx(0.2 * 7 / 16),
        "features/5/1": pytest.approx(0.2 * 9 / 16),
        "features/5/2": pytest.approx(0.2 * 10 / 16),
        "features/6/1": pytest.approx(0.2 * 12 / 16),
        "features/6/2": pytest.approx(0.2 * 13 / 16),
        "features/6/3": pytest.approx(0.2 * 14 / 16),
    }


def test_v2_has_shortcuts_in_its_first_stage():
    found = modules("efficientnet_v2_s", DropPath)
    rates = [m.rate for m in found.values()]
    assert list(found)[:2] == ["features/1/0/stochastic_depth", "features/1/1/stochastic_depth"]
    assert rates[:2] == [0, pytest.approx(0.4 / 40)]
    assert rates[-1] == pytest.approx(0.4 * 39 / 40)


@pytest.mark.parametrize(
    ("name", "eps", "momentum"),
    [
        ("efficientnet_b4", 1e-5, 0.1),
        ("efficientnet_b5", 1e-3, 0.01),
        ("efficientnet_v2_s", 1e-3, 0.1),
        ("efficientnet_lite0", 1e-3, 0.1),
        ("mobilenet_v2", 1e-5, 0.1),
        ("mobilenet_v3_small", 1e-3, 0.01),
        ("mnasnet0_5", 1e-5, 1 - 0.9997),
    ],
)
def test_every_norm_of_a_net_has_the_same_constants(name, eps, momentum):
    found = modules(name, BatchNorm)
    assert {(m.eps, m.momentum) for m in found.values()} == {(eps, momentum)}


def test_a_dropped_path_leaves_the_input():
    x = array(64, 2, 2, 8).astype(jnp.float32)
    block = MBConv(8, expansion=2, window=3, drop_path_rate=0.5)
    z, variables = jax.jit(block.init_with_output)(jax.random.key(0), x)
    assert not (z == x).all(axis=(1, 2, 3)).any()
    train = partial(block.apply, train=True, mutable=["batch_stats"])
    y, _ = jax.jit(train)(variables, x, rngs={"dropout": jax.random.key(1)})
    assert 16 < (y == x).all(axis=(1, 2, 3)).sum() < 48


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite0"])
def test_rates_of_zero_need_no_key(name):
    model = models.create(name, num_classes=3, drop_rate=0.0, drop_path_rate=0.0)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    logits, _ = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]), variables, x
    )
    assert logits.shape == (2, 3)
