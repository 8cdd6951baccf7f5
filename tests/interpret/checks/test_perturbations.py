import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import TOLERANCES, array, assert_close
from jaxcnn.interpret.checks.perturbations import infidelity, max_sensitivity

KEY = jax.random.key(0)
TRACES = []


def gradient(f, x):
    return jax.grad(lambda x: f(x).sum())(x)


def linear(x):
    weights = jnp.asarray(np.random.default_rng(5).normal(size=x.shape[1:]))
    return (weights * x).sum((1, 2, 3)) + 3


def curved(x):
    TRACES.append(1)
    return (x**2).sum((1, 2, 3)) * jnp.sin(x).sum((1, 2, 3))


def normal(key, x):
    return 0.3 * jax.random.normal(key, x.shape, x.dtype)


def draws(samples, shape, dtype=jnp.float64):
    """The perturbations of a standard deviation of 1, as drawn from KEY for every sample."""
    keys = [jax.random.fold_in(KEY, i + 1) for i in range(samples)]
    return np.array([jax.random.normal(key, shape, dtype) for key in keys])


def test_infidelity_of_a_linear_function(x64):
    x = array(2, 3, 4, 2)
    right = gradient(linear, x)
    assert infidelity(linear, x, right, KEY, samples=20).max() < 1e-25
    # Of another attribution a + w the mean over I of <I, a>^2, as the sample has it.
    wrong = right + array(2, 3, 4, 2, seed=1)
    found = infidelity(linear, x, wrong, KEY, samples=20)
    closed = np.einsum("shwc,bhwc->sb", 0.1 * draws(20, (3, 4, 2)), wrong - right) ** 2
    assert_close(found, closed.mean(0), "float64")
    # And in the limit sigma^2 |a|^2.
    many = infidelity(linear, x, wrong, KEY, samples=4000, noise=0.2)
    limit = 0.04 * ((wrong - right) ** 2).sum((1, 2, 3))
    assert np.abs(many / limit - 1).max() < 0.06  # its standard deviation is 0.02


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_equals_loops(x64, normalize):
    x, attribution = array(3, 2, 3, 2), array(3, 2, 3, 2, seed=1)
    samples = 6
    found = infidelity(
        curved, x, attribution, KEY, noise=normal, samples=samples, normalize=normalize
    )
    foretold, change = np.zeros((2, samples, 3))
    for s in range(samples):
        noise = normal(jax.random.fold_in(KEY, s + 1), x)
        for i in range(3):
            foretold[s, i] = np.vdot(noise[i], attribution[i])
            change[s, i] = (curved(x[i : i + 1]) - curved(x[i : i + 1] - noise[i]))[0]
    if normalize:
        for i in range(3):
            foretold[:, i] *= np.linalg.lstsq(foretold[:, [i]], change[:, i])[0]
    assert_close(found, ((foretold - change) ** 2).mean(0), "float64")


def test_normalized_infidelity_ignores_scale(x64):
    x, attribution = array(2, 3, 3, 1), array(2, 3, 3, 1, seed=1)
    found = infidelity(curved, x, attribution, KEY, normalize=True)
    assert_close(infidelity(curved, x, -7 * attribution, KEY, normalize=True), found, "float64")
    plain = infidelity(curved, x, attribution, KEY)
    assert (found < plain).all()
    # Of nothing nothing is foretold, scaled or not.
    zeros = [infidelity(curved, x, 0 * x, KEY, normalize=n) for n in (False, True)]
    assert_close(*zeros, "float64")


def test_sensitivity_of_known_gradients(x64):
    x = array(2, 3, 4, 2)
    assert_close(max_sensitivity(gradient, linear, x, KEY, samples=3), np.zeros(2), "exact")

    def square(x):
        return (x**2).sum((1, 2, 3)) / 2  # its gradient is x

    found = max_sensitivity(gradient, square, x, KEY, radius=0.1, samples=7)
    keys = [jax.random.fold_in(KEY, i + 1) for i in range(7)]
    ways = np.array([jax.random.uniform(k, (3, 4, 2), x.dtype, -1, 1) for k in keys])
    largest = 0.1 * np.sqrt((ways**2).sum((1, 2, 3))).max()
    assert_close(found, largest / np.sqrt((x**2).sum((1, 2, 3))), "float64")
    zero = max_sensitivity(gradient, square, 0 * x, KEY, radius=0.1, samples=7)
    assert_close(zero, [largest] * 2, "float64")


def test_sensitivity_grows_with_samples_and_radius(x64):
    x = array(3, 3, 3, 1)
    few, many = (max_sensitivity(gradient, curved, x, KEY, samples=n) for n in (1, 8))
    assert (few <= many * (1 + TOLERANCES["float64"])).all()
    assert (few < many).any()
    wide = max_sensitivity(gradient, curved, x, KEY, samples=1, radius=0.2)
    assert (few < wide).all()


def test_singles_and_transforms(x64):
    x, attribution = array(3, 3, 3, 2), array(3, 3, 3, 2, seed=1)

    def first(x):
        return infidelity(curved, x, attribution, KEY, samples=5)

    def second(x):
        return max_sensitivity(gradient, curved, x, KEY, samples=5)

    for check, single in (
        (first, lambda i: infidelity(curved, x[i], attribution[i], KEY, samples=5)),
        (second, lambda i: second(x[i])),
    ):
        expected = check(x)
        singles = [single(slice(i, i + 1))[0] for i in range(3)]
        assert_close(singles, expected, "float64", where="singles")
        inside = jax.jit(jax.vmap(check))(x[None])[0]
        assert_close(inside, expected, "float64", where="jit and vmap")


def test_second_call_compiles_nothing():
    x = array(2, 3, 3, 1)

    def both(key, noise, radius):
        infidelity(curved, x, x, key, noise=noise)
        max_sensitivity(gradient, curved, x, key, radius=radius)

    TRACES.clear()
    both(KEY, 0.1, 0.02)
    first = len(TRACES)
    both(jax.random.key(1), 0.2, 0.1)
    assert len(TRACES) == first


def test_memory_is_constant_in_samples():
    x = jnp.ones((2, 32, 32, 3))

    def wave(key, x):
        return jnp.cos(x)

    def planned(samples):
        def both(x):
            return infidelity(curved, x, x, KEY, noise=wave, samples=samples) + max_sensitivity(
                gradient, curved, x, KEY, samples=samples
            )

        return jax.jit(both).lower(x).compile().memory_analysis().temp_size_in_bytes

    assert planned(256) < planned(2) + x.nbytes


def test_errors(unchecked):
    x = jnp.ones((2, 3, 3, 1))
    with pytest.raises(ValueError, match="infidelity: samples must be 1 or more, got 0"):
        infidelity(curved, x, x, KEY, samples=0)
    with pytest.raises(ValueError, match="max_sensitivity: samples must be 1 or more, got -1"):
        max_sensitivity(gradient, curved, x, KEY, samples=-1)
    with pytest.raises(ValueError, match=r"attribution needs x's shape \(2, 3, 3, 1\), got"):
        infidelity(curved, x, x[..., 0], KEY)
    with pytest.raises(ValueError, match="infidelity: f.x. needs one number for each image"):
        infidelity(lambda x: x.sum(), x, x, KEY)
    with pytest.raises(ValueError, match=r"needs attributions of 2 images, got \(3, 3, 1\)"):
        max_sensitivity(lambda f, x: x[0], curved, x, KEY)
