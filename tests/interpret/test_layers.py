import functools

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from helpers import array, assert_close
from jaxcnn.interpret.layers import layer_shapes, run_with_layers, trace, with_layer
from jaxcnn.models import activations, create


def named(x):
    return checkpoint_name(jnp.sin(x), "sine") * 2


def own_jvp(x):
    f = jax.custom_jvp(named)
    f.defjvp(lambda x, t: (named(*x), t[0]))
    return f(x)


PLACES = {
    "plain": named,
    "jit": jax.jit(named),
    "jit inside": lambda x: jax.jit(named)(x),
    "remat": lambda x: jax.checkpoint(named)(x),
    "remat in jit in remat": lambda x: jax.checkpoint(jax.jit(jax.checkpoint(named)))(x),
    "custom_jvp": own_jvp,
}


@pytest.fixture(scope="module")
def lenet():
    model, x = create("lenet"), array(2, 12, 12, 1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return model, jax.tree.map(lambda a: 0.1 * array(*a.shape), shapes), x


@pytest.mark.parametrize("place", PLACES)
def test_a_layer_anywhere(place):
    x = array(2, 3)
    y, layer = with_layer("test", PLACES[place], x, "sine")
    assert_close(y, 2 * jnp.sin(x))
    assert_close(layer, jnp.sin(x))
    y, layer = with_layer("test", PLACES[place], x, "sine", jnp.ones_like(x))
    assert_close(y, 2 * (jnp.sin(x) + 1))
    assert_close(layer, jnp.sin(x) + 1)


@pytest.mark.parametrize("place", PLACES)
def test_the_gradient_by_a_layer(place):
    x = array(2, 3)

    @jax.jit
    def by_delta(delta):
        return jax.grad(lambda d: (with_layer("test", PLACES[place], x, "sine", d)[0] ** 2).sum())(
            delta
        )

    assert_close(by_delta(jnp.zeros_like(x)), 8 * jnp.sin(x))


def test_names_and_values_are_those_of_activations(lenet):
    model, variables, x = lenet
    y, found = run_with_layers(lambda x: model.apply(variables, x), x, lambda name, y: None)
    expected = activations(model, variables, x)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert_close(found[name], value, where=name)
    assert_close(y, model.apply(variables, x))


def test_shapes_in_the_order_of_the_flow(lenet):
    model, variables, x = lenet
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    shapes = layer_shapes(lambda x: model.apply(variables, x), like)
    found = activations(model, variables, x)
    assert list(shapes.items()) == [
        (name, jax.ShapeDtypeStruct(y.shape, y.dtype)) for name, y in found.items()
    ]


def test_jitted_models_have_names_even_when_traced_before(lenet):
    model, variables, x = lenet

    def plain(x):
        return model.apply(variables, x)

    jitted = jax.jit(plain)
    partials = [
        kind(jax.jit(model.apply), variables) for kind in (functools.partial, jax.tree_util.Partial)
    ]
    for f in (jitted, *partials):
        jax.make_jaxpr(f)(x)
    for f in (jitted, plain, *partials):
        assert list(layer_shapes(f, x)) == list(activations(model, variables, x))


def test_jit_is_taken_off_and_other_decorators_stay():
    @functools.wraps(named)
    def larger(x):
        return 10 * named(x)

    x = array(2)
    assert_close(with_layer("test", jax.jit(jax.jit(larger)), x, "sine")[0], 20 * jnp.sin(x))


def test_a_name_used_twice_is_numbered():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = nn.Dense(3, name="dense")
            return nn.remat(nn.Dense)(2, name="rematted")(dense(dense(x)))

    x = array(2, 3)
    model = Twice()
    variables = model.init(jax.random.key(0), x)
    names = list(layer_shapes(lambda x: model.apply(variables, x), x))
    assert names == ["dense", "dense:2", "rematted"]

    f = lambda x: checkpoint_name(checkpoint_name(2 * x, "y") * 3, "y")  # noqa: E731
    assert list(layer_shapes(f, x)) == ["y", "y:2"]
    assert_close(with_layer("test", f, x, "y", jnp.ones_like(x))[0], 6 * x + 3)
    assert_close(with_layer("test", f, x, "y:2", jnp.ones_like(x))[0], 6 * x + 1)


def test_changes_replace_outputs():
    x = array(2, 3)
    y, found = run_with_layers(
        named, x, lambda name, y: jnp.zeros_like(y) if name == "sine" else None
    )
    assert_close(y, jnp.zeros((2, 3)), "exact")
    assert_close(found["sine"], jnp.zeros((2, 3)), "exact")


def test_the_structure_of_the_result_stays():
    x = array(2, 3)
    y, _ = run_with_layers(lambda x: {"a": x, "b": [named(x)]}, x, lambda name, y: None)
    assert_close(y["b"][0], 2 * jnp.sin(x))
    assert_close(y["a"], x, "exact")
    _, shape = trace(lambda x: {"a": named(x)}, x)
    assert shape["a"].shape == (2, 3)


def test_layers_in_loops_have_no_one_value():
    def f(x):
        return lax.scan(lambda h, _: (named(h), None), named(x), length=3)[0]

    assert list(layer_shapes(f, array(2))) == ["sine"]  # that before the loop


def test_errors(lenet):
    model, variables, x = lenet
    f = lambda x: model.apply(variables, x)  # noqa: E731
    with pytest.raises(
        ValueError, match="who: f has no layer 'pol1'; did you mean 'pool1'\\? Layers: conv1, relu1"
    ):
        with_layer("who", f, x, "pol1")
    with pytest.raises(ValueError, match="who: f has no layer 'conv'. Layers: none: name values"):
        with_layer("who", jnp.sin, x, "conv")
