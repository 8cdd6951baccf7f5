import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from helpers import array, assert_close
from jaxcnn.interpret.checks.randomization import sanity_check
from jaxcnn.interpret.checks.rankings import rank_agreement

TRACES = []


def gradient(f, x):
    return jax.grad(lambda x: f(x).sum())(x)


def net(params, x):
    """Two dense layers whose gradient is w_in @ (tanh' * w_out): one hidden layer of 5."""
    TRACES.append(1)
    h = jnp.tanh(checkpoint_name(x.reshape(len(x), -1) @ params["in"]["w"], "in"))
    return checkpoint_name((h @ params["out"][0])[:, 0] + params["out"][1], "out")


def parameters(seed):
    rng = np.random.default_rng(seed)
    w, v = rng.normal(size=(12, 5)), rng.normal(size=(5, 1))
    return {"in": {"w": jnp.asarray(w)}, "out": [jnp.asarray(v), jnp.asarray(rng.normal())]}


@pytest.fixture
def case(x64):
    return parameters(0), parameters(1), array(3, 2, 3, 2)


def test_hand(unchecked):
    def f(params, x):
        return params["scale"] * (params["w"] * x[:, :, 0, 0]).sum(1)

    params = {"scale": 1.0, "w": jnp.array([1.0, 2.0, 4.0])}
    fresh = {"scale": -1.0, "w": jnp.array([3.0, 2.0, 1.0])}
    x = jnp.ones((2, 3, 1, 1))

    def check(**options):
        found = sanity_check(gradient, f, params, x, fresh=fresh, **options)
        assert found.correlations.shape == (2, 2)
        return found.layers, found.correlations[:, 0].tolist()

    both = ["scale", "w"]
    assert check(layers=both) == (("scale", "w"), [-1, 1])  # -w, then -fresh w
    assert check(layers=both, independent=True) == (("scale", "w"), [-1, -1])
    assert check(layers=both, absolute=True)[1] == [1, -1]
    assert check(layers=["w", "scale"]) == (("w", "scale"), [-1, 1])


def test_equals_a_loop_over_stages(case):
    params, fresh, x = case
    found = sanity_check(gradient, net, params, x, fresh=fresh)
    assert found.layers == ("out", "in")
    original = gradient(lambda x: net(params, x), x)
    mixed = {"in": params["in"], "out": fresh["out"]}
    expected = [
        rank_agreement(original, gradient(lambda x, p=p: net(p, x), x)) for p in (mixed, fresh)
    ]
    assert_close(found.correlations, expected, "float64")
    alone = sanity_check(gradient, net, params, x, fresh=fresh, independent=True)
    mixed = {"in": fresh["in"], "out": params["out"]}
    expected[1] = rank_agreement(original, gradient(lambda x: net(mixed, x), x))
    assert_close(alone.correlations, expected, "float64")


def test_paths_and_the_same_parameters(case):
    params, fresh, x = case
    # The bias moves the score, not its gradient.
    found = sanity_check(gradient, net, params, x, fresh=fresh, layers=["out/1", "out", "in/w"])
    assert found.layers == ("out/1", "out", "in/w")
    assert_close(found.correlations[0], np.ones(3), "float64")
    whole = sanity_check(gradient, net, params, x, fresh=fresh)
    assert_close(found.correlations[1:], whole.correlations, "float64")
    same = sanity_check(gradient, net, params, x, fresh=params)
    assert_close(same.correlations, np.ones((2, 3)), "float64")


def test_a_name_that_begins_another(x64):
    def f(params, x):
        return (jnp.exp(params["w"] * x[:, :, 0, 0]) * params["w2"]).sum(1)

    params = {"w": array(9), "w2": array(9, seed=1)}
    fresh = {"w": array(9, seed=2), "w2": array(9, seed=3)}
    x = array(1, 9, 1, 1, seed=4)
    found = sanity_check(gradient, f, params, x, fresh=fresh, layers=["w", "w2"])
    mixed = {"w": fresh["w"], "w2": params["w2"]}
    expected = rank_agreement(*(gradient(lambda x, p=p: f(p, x), x) for p in (params, mixed)))
    assert_close(found.correlations[0], expected, "float64")


def test_singles_and_jit(case):
    params, fresh, x = case
    found = sanity_check(gradient, net, params, x, fresh=fresh).correlations
    singles = [
        sanity_check(gradient, net, params, x[i : i + 1], fresh=fresh).correlations[:, 0]
        for i in range(3)
    ]
    assert_close(jnp.stack(singles, axis=1), found, "float64")
    jitted = jax.jit(lambda p, q: sanity_check(gradient, net, p, x, fresh=q).correlations)
    assert_close(jitted(params, fresh), found, "float64")


def test_compiles_once_for_all_stages_and_parameters(case):
    params, fresh, x = case
    order = ["out", "in"]
    sanity_check(gradient, net, params, x, fresh=fresh, layers=order)
    TRACES.clear()
    sanity_check(gradient, net, fresh, x + 1, fresh=params, layers=order[::-1])
    sanity_check(gradient, net, params, x, fresh=fresh, layers=order, independent=True)
    assert not TRACES


class Net(nn.Module):
    """Three layers whose names are in no alphabetical order."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(3, name="b")(x.reshape(len(x), -1)))
        return nn.Dense(1, name="c")(nn.tanh(nn.Dense(3, name="a")(x)))[:, 0]


def test_order_of_a_linen_model():
    x = array(2, 2, 2, 1).astype(jnp.float32)
    params, fresh = (Net().init(jax.random.key(i), x)["params"] for i in range(2))
    found = sanity_check(
        gradient, lambda params, x: Net().apply({"params": params}, x), params, x, fresh=fresh
    )
    assert found.layers == ("c", "a", "b")


def test_maps_without_channels(case):
    params, fresh, x = case

    def maps(f, x):
        return gradient(f, x).sum(3)

    found = sanity_check(maps, net, params, x, fresh=fresh).correlations[1]
    expected = rank_agreement(*(maps(lambda x, p=p: net(p, x), x) for p in (params, fresh)))
    assert_close(found, expected, "float64")


def test_parameters_are_untouched(case):
    params, fresh, x = case
    before = jax.tree.map(np.array, (params, fresh))
    sanity_check(gradient, net, params, x, fresh=fresh)
    jax.tree.map(np.testing.assert_array_equal, (params, fresh), before)


def test_errors(case, unchecked):
    params, fresh, x = case

    def check(f=net, params=params, fresh=fresh, x=x, **options):
        sanity_check(gradient, f, params, x, fresh=fresh, **options)

    with pytest.raises(ValueError, match=r"layer 'oud'; did you mean 'out'\? At the top: in, out"):
        check(layers=["oud"])
    with pytest.raises(ValueError, match=r"layer 'in/v'; did you mean 'in/w'\?"):
        check(layers=["out", "in/v"])
    with pytest.raises(ValueError, match="fresh needs the structure, shapes and dtypes"):
        check(fresh={"in": fresh["in"]})
    with pytest.raises(ValueError, match="fresh needs the structure, shapes and dtypes"):
        check(fresh=jax.tree.map(lambda a: a.astype(jnp.float32), fresh))
    with pytest.raises(ValueError, match="pass layers, for the places of in, out .*f: none"):
        check(f=lambda params, x: x.sum((1, 2, 3)) + 0 * params["out"][1])
    with pytest.raises(ValueError, match=r"sanity_check: x needs floating-point images"):
        check(x=x[0])
