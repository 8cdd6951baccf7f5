import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import array, assert_close, assert_finite, assert_gradients, assert_transforms
from jaxcnn.losses import l1_penalty, l2_penalty, weights_mask

PENALTIES = [(l2_penalty, np.square), (l1_penalty, np.abs)]


def make_params():
    return {
        "conv1": {"kernel": array(2, 2, 1, 2), "bias": array(2, seed=1)},
        "norm1": {"scale": array(2, seed=2), "bias": array(2, seed=3)},
        "blocks": [{"kernel": array(3, seed=4)}],
    }


def everything(params):
    return jax.tree.map(lambda _: True, params)


@pytest.mark.parametrize(("penalty", "measure"), PENALTIES)
def test_penalty_is_the_loop(x64, penalty, measure):
    params = make_params()
    prefix = {"conv1": True, "norm1": False, "blocks": [False]}

    @jax.jit
    def penalties(params):
        weights = (
            penalty(params),
            penalty(params, weights_mask),
            penalty(params, weights_mask(params)),
        )
        nothing = penalty(params, lambda p: jax.tree.map(lambda _: False, p))
        return weights, penalty(params, everything), penalty(params, prefix), nothing

    weights, every, conv, nothing = penalties(params)
    kernels = [params["conv1"]["kernel"], params["blocks"][0]["kernel"]]
    for found in weights:
        assert_close(found, sum(measure(np.asarray(w)).sum() for w in kernels), "float64")
    leaves = jax.tree.leaves(params)
    assert_close(every, sum(measure(np.asarray(w)).sum() for w in leaves), "float64")
    leaves = params["conv1"].values()
    assert_close(conv, sum(measure(np.asarray(w)).sum() for w in leaves), "float64")
    assert nothing == 0
    assert penalty({}) == 0


def test_weights_mask_of_linen():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(2, (3, 3))(x)
            x = nn.GroupNorm(num_groups=1)(x)
            return nn.Dense(3)(x.ravel())

    params = jax.eval_shape(Net().init, jax.random.key(0), jnp.ones((4, 4, 1)))["params"]
    assert weights_mask(params) == {
        "Conv_0": {"kernel": True, "bias": False},
        "GroupNorm_0": {"scale": False, "bias": False},
        "Dense_0": {"kernel": True, "bias": False},
    }
    assert weights_mask(array(3)) is True  # a lone array has no name


def test_l2_penalty_is_weight_decay(x64):
    @jax.jit
    def ours_and_theirs(params):
        decay = optax.add_decayed_weights(0.3, mask=weights_mask)
        zeros = jax.tree.map(jnp.zeros_like, params)
        theirs, _ = decay.update(zeros, decay.init(params), params)
        return jax.grad(lambda p: 0.3 / 2 * l2_penalty(p))(params), theirs

    for a, e in zip(*map(jax.tree.leaves, ours_and_theirs(make_params())), strict=True):
        assert_close(a, e, "float64")


@pytest.mark.parametrize(("penalty", "measure"), PENALTIES)
def test_penalty_gradients_and_transforms(penalty, measure):
    assert_gradients(penalty, make_params())
    assert_transforms(penalty, make_params())
    assert_finite(penalty, {"kernel": np.array([0.0, 1e4, -1e4])})


def test_penalty_of_python_numbers():
    params = {"conv1": {"kernel": -0.5, "bias": 1.0}, "norm1": {"scale": 1.0}}
    assert_close(l2_penalty(params), 0.25, "exact")
    assert_close(l1_penalty({**params, "head": {"kernel": jnp.ones(2)}}), 2.5, "exact")
    assert l2_penalty({"kernel": 3}).dtype == jnp.float32
    low = {"kernel": jnp.ones(2, jnp.bfloat16), "gain": 2.0}
    assert l2_penalty(low).dtype == jnp.bfloat16


def test_l1_penalty_kink():
    both = jax.jit(lambda w: (jax.jacfwd(l1_penalty)(w), jax.jacrev(l1_penalty)(w)))
    for slopes in both(np.array([0, -2], np.float32)):
        assert_close(slopes, [0, -1], "exact")


def test_sums_of_bfloat16_are_float32():
    params = {"kernel": np.full(1000, 1 + 9 / 128, jnp.bfloat16)}
    wider = {**params, "head": np.ones(1, np.float32)}

    @jax.jit
    def penalties(params, wider):
        return [(penalty(params), penalty(wider)) for penalty in (l2_penalty, l1_penalty)]

    (l2, wider_l2), (l1, wider_l1) = penalties(params, wider)
    assert l2 == 1144  # nearest to 1145.6; squares in bfloat16 give 1152
    assert l1 == 1072  # nearest to 1070.3
    assert l2.dtype == l1.dtype == jnp.bfloat16
    assert wider_l2.dtype == wider_l1.dtype == jnp.float32


@pytest.mark.parametrize(("penalty", "measure"), PENALTIES)
def test_penalty_errors(penalty, measure, unchecked):
    params, name = make_params(), penalty.__name__
    with pytest.raises(ValueError, match=f"{name}: mask must hold bools, got 'kernel'"):
        penalty(params, {"conv1": "kernel"})
    with pytest.raises(ValueError, match=f"{name}: mask needs the structure of params or a prefix"):
        penalty(params, {"conv1": True})
    with pytest.raises(ValueError, match=f"{name}: mask needs the structure of params or a prefix"):
        penalty(params["conv1"], {"kernel": [True], "bias": False})
