import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, skip_unless_compiled
from jaxcnn.autodiff.checks import numerical
from jaxcnn.autodiff.checks.numerical import numerical_gradient, numerical_jacobian

# Relative to the largest derivative; of functions of size 1.
ERRORS = {
    ("forward", 32): 2e-3,
    ("central", 32): 2e-4,
    ("complex-step", 32): 1e-6,
    ("forward", 64): 1e-7,
    ("central", 64): 1e-9,
    ("complex-step", 64): 1e-14,
}


def assert_near(found, expected, tolerance):
    scale = max(np.abs(e).max() for e in jax.tree.leaves(expected))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape
        assert a.dtype == e.dtype
        assert np.abs(np.asarray(a) - np.asarray(e)).max() <= tolerance * scale


def smooth(x):
    return jnp.sum(jnp.sin(x["a"]) * x["b"]) + jnp.exp(x["c"][0, 1]) * x["b"]


@pytest.mark.parametrize(("method", "bits"), ERRORS)
def test_gradient_is_jax_grad(method, bits):
    with jax.enable_x64(bits == 64):
        x = {"a": array(5), "b": jnp.asarray(0.7), "c": array(2, 2, seed=1)}
        found = numerical_gradient(smooth, x, method=method)
        assert_near(found, jax.jit(jax.grad(smooth))(x), ERRORS[method, bits])


@pytest.mark.parametrize(("method", "bits"), ERRORS)
def test_jacobian_is_nested_as_jacfwd(method, bits):
    def f(x):
        return {"outer": jnp.outer(x["a"], x["a"]) * x["b"], "power": (x["b"] ** 2,)}

    with jax.enable_x64(bits == 64):
        x = {"a": array(3), "b": jnp.asarray(0.7)}
        found = numerical_jacobian(f, x, method=method)
        assert_near(found, jax.jit(jax.jacfwd(f))(x), 2 * ERRORS[method, bits])


def test_steps_follow_the_scale_of_each_coordinate(x64):
    x = jnp.array([1e8, 1.0, 1e-8])
    found = numerical_jacobian(lambda x: x**3, x).diagonal()
    assert_close((found / (3 * x**2))[:2], [1, 1], "gradient")
    assert abs(found[2]) < 1e-9  # h^2
    assert_close(numerical_gradient(lambda x: jnp.sum(x), jnp.full(1, 1e15)), [1.0], "float64")


@pytest.mark.parametrize(("method", "order"), [("forward", 1), ("central", 2), ("complex-step", 2)])
def test_error_falls_with_the_method_s_power_of_the_step(method, order, x64):
    steps = (1e-2, 1e-3)
    errors = [abs(numerical_gradient(jnp.exp, 1.0, method=method, step=h) - np.e) for h in steps]
    assert abs(np.log10(errors[0] / errors[1]) - order) < 0.01


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("method", ["forward", "central", "complex-step"])
def test_half_precision_is_as_good_as_its_result_can_be(dtype, method):
    skip_unless_compiled(dtype)
    x = jnp.linspace(-1, 3, 64).astype(dtype)
    found = numerical_gradient(lambda x: jnp.sum(x**2), x, method=method)
    assert found.dtype == dtype
    assert_close(found, 2 * x, "bfloat16")
    assert numerical_jacobian(jnp.sin, x, method=method).dtype == dtype


def test_chunks_make_no_difference(monkeypatch, x64):
    x = array(7, 3)
    expected = numerical_jacobian(jnp.sin, x)
    monkeypatch.setattr(numerical, "MEMORY", 5 * (2 * 8 * 21 + 8 * 21))  # 21 = 4 x 5 + 1
    assert_close(numerical_jacobian(jnp.sin, x), expected, "gradient")


def test_complex_results():
    found = numerical_jacobian(lambda x: jnp.exp(1j * x), array(3))
    assert_near(found, jax.jacfwd(lambda x: jnp.exp(1j * x))(array(3)), 1e-3)


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: jnp.abs(x), "takes abs of them"),
        (lambda x: jnp.abs(x) * x, "takes abs of them"),
        (lambda x: jax.jit(jnp.abs)(x) * x, "takes abs of them"),
        (lambda x: jnp.where(x > 0, x, 2 * x), "takes imag, real of them"),
        (lambda x: jnp.floor(x) + x, "with them it raises TypeError: floor does not accept"),
        (lambda x: jnp.float32(2), "it gives float32"),
    ],
)
@pytest.mark.parametrize("differentiate", [numerical_gradient, numerical_jacobian])
def test_complex_step_says_what_does_not_carry_complex_numbers(f, reason, differentiate):
    with pytest.raises(ValueError, match=f'"complex-step" needs an f that carries .* {reason}'):
        differentiate(f, 1.5, method="complex-step")


@pytest.mark.parametrize("differentiate", [numerical_gradient, numerical_jacobian])
def test_errors(differentiate):
    name = differentiate.__name__

    def refuses(message, f, x, **options):
        with pytest.raises(ValueError, match=f"{name}: {message}"):
            differentiate(f, x, **options)

    refuses(
        'method takes "forward", "central", "complex-step", got \'backward\'',
        *(jnp.sin, 1.0),
        method="backward",
    )
    for step in (0, -1e-3, np.nan):
        refuses("step must be positive, got", jnp.sin, 1.0, step=step)
    refuses("step must change x, got 1e-20 at x = 1.0", jnp.sin, 1.0, step=1e-20)
    refuses(r"x takes real .* got int32 in x\['a'\]", lambda x: x["a"], {"a": jnp.ones(2, int)})
    refuses("x takes real floating-point arrays, got complex64 in x", jnp.sin, 1j)
    refuses("x needs at least one number, got none", jnp.sum, jnp.zeros(0))


def test_errors_of_results():
    with pytest.raises(ValueError, match=r"f must return one number, got shapes \[\(2,\)\]"):
        numerical_gradient(jnp.sin, array(2))
    with pytest.raises(ValueError, match=r"got shapes \[\(\), \(\)\]"):
        numerical_gradient(lambda x: (x, x), 1.0)
    with pytest.raises(ValueError, match="f must return a real floating-point number, got int32"):
        numerical_gradient(lambda x: x.astype(int), jnp.float32(1))
    with pytest.raises(ValueError, match="f must return floating-point numbers, got int32"):
        numerical_jacobian(lambda x: x.astype(int), array(2))


def test_complex_step_refuses_signs():
    with pytest.raises(ValueError, match="it takes sign of them"):
        numerical_gradient(lambda x: (jnp.sign(x) * x).sum(), jnp.ones(2), method="complex-step")


def test_a_constant_has_no_slope():
    assert_close(numerical_gradient(lambda x: 3.0, jnp.ones(2)), [0.0, 0.0], "exact")
