import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from helpers import array, skip_unless_compiled
from jaxcnn.autodiff.checks.checking import check_gradients
from jaxcnn.autodiff.checks.subjects import Subject
from jaxcnn.functional import conv
from jaxcnn.models import example_loss


def comparison(report, name):
    return next(c for c in report.comparisons if c.name == name)


def with_gradient(value, gradient):
    """A scalar function with a rule of our own, right or wrong, in both modes."""
    f = jax.custom_jvp(value)
    f.defjvp(lambda primals, tangents: (f(*primals), jnp.vdot(gradient(*primals), tangents[0])))
    return f


def sum_of_sines(x):
    return jnp.sin(x).sum()


def test_report_of_a_right_gradient():
    report = check_gradients(lambda x, y: x * jnp.log(y), 3.0, 2.0)
    assert report.ok
    report.raise_if_failed()
    assert [c.name for c in report.comparisons] == [
        "order 1, forward",
        "order 1, reverse",
        "order 1, <Jv, u> = <v, J'u>",
        "order 2, forward over forward",
        "order 2, reverse over forward",
        "order 2, <Jv, u> = <v, J'u> over forward",
        "order 2, forward over reverse",
        "order 2, reverse over reverse",
        "order 2, <Jv, u> = <v, J'u> over reverse",
    ]
    assert {c.verdict for c in report.comparisons} == {"ok"}
    assert all(c.difference < 1e-9 for c in report.comparisons)
    assert "2 inputs, 1 output, float64, rtol 5.5e-07; the full Jacobian" in str(report)


def test_pytrees_of_arrays_and_what_is_held_fixed():
    def f(params, labels, key, nothing, padding):
        assert nothing is None
        assert padding == "SAME"
        noise = jax.random.normal(key, (2,))
        return {"y": params["w"] @ params["x"] + noise, "labels": labels}, params["b"] ** labels[0]

    params = {"w": array(2, 3), "x": array(3), "b": 1.5}
    report = check_gradients(f, params, jnp.array([2, 1]), jax.random.key(0), None, "SAME")
    report.raise_if_failed()
    assert "10 inputs, 3 outputs" in str(report)


def test_float64_by_default_and_the_arguments_dtype_if_asked():
    seen = set()

    def f(x):
        seen.add(x.dtype)
        return x**2

    x = array(3)
    assert x.dtype == jnp.float32
    check_gradients(f, x, order=1).raise_if_failed()
    assert seen == {jnp.dtype("float64")}
    seen.clear()
    report = check_gradients(f, x, order=1, dtype=None)
    report.raise_if_failed()
    assert seen == {jnp.dtype("float32")}
    assert "float32" in str(report)
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("dtype", [jnp.float64, None])
def test_no_false_alarm_on_sums_of_sines(dtype):
    x = array(1024)
    assert x.dtype == jnp.float32
    options = {"dtype": dtype, "directions": 32}
    for seed in range(3):
        report = check_gradients(sum_of_sines, x, seed=seed, order=2 - (seed > 0), **options)
        report.raise_if_failed()
        assert sum(c.inconclusive for c in report.comparisons) <= 2


def test_gradient_wrong_by_190_across_the_direction_of_check_grads():
    n = 100
    x = jnp.asarray(np.random.default_rng(0).normal(size=n), jnp.float32)
    fixed = np.random.RandomState(0).randn(n)  # what check_grads goes along, always
    error = np.random.default_rng(1).normal(size=n)
    error -= fixed * (error @ fixed) / (fixed @ fixed)
    error *= 190 / np.linalg.norm(error)
    f = with_gradient(sum_of_sines, lambda x: jnp.cos(x) + jnp.asarray(error, x.dtype))
    with jax.enable_x64(True):
        check_grads(f, (x.astype(jnp.float64),), order=1)  # passes
    report = check_gradients(f, x, order=1)
    assert not report.ok
    for mode in ("forward", "reverse"):
        found = comparison(report, f"order 1, {mode}")
        assert found.wrong > n / 2
        worst = int(re.fullmatch(r"args\[0\]\[(\d+)\]", found.worst.input)[1])
        assert abs(found.worst.found - found.worst.expected - error[worst]) < 1e-4


# Fewer inputs take fewer directions: those in a block share its noise. In float32 only the
# directions of single inputs notice it here; of 16,384 inputs 512 blocks would, too.
@pytest.mark.parametrize(
    ("side", "directions", "seed", "dtype"),
    [
        (128, 64, 0, jnp.float64),
        (64, 16, 1, jnp.float64),
        (64, 16, 2, jnp.float64),
        (64, 4, 2, None),
    ],
)
def test_one_coordinate_of_thousands_wrong_by_a_tenth(side, directions, seed, dtype):
    x = np.asarray(array(side, side, seed=seed))
    steep = np.argwhere(np.abs(np.cos(x)) > 0.8)
    i, j = map(int, steep[np.random.default_rng(seed).integers(len(steep))])
    f = with_gradient(sum_of_sines, lambda x: jnp.cos(x).at[i, j].multiply(1.1))
    params, options = {"kernel": x}, {"directions": directions, "dtype": dtype, "seed": seed}
    report = check_gradients(lambda p: f(p["kernel"]), params, order=1, **options)
    assert not report.ok
    for mode in ("forward", "reverse"):
        worst = comparison(report, f"order 1, {mode}").worst
        assert worst.input == f"args[0]['kernel'][{i}, {j}]"
        assert worst.expected == pytest.approx(np.cos(x[i, j]), rel=1e-3)
        assert worst.found == pytest.approx(1.1 * np.cos(x[i, j]), rel=1e-3)
    with pytest.raises(AssertionError, match=re.escape(f"args[0]['kernel'][{i}, {j}]: expected")):
        report.raise_if_failed()


def test_one_entry_of_a_large_jacobian_wrong_in_reverse_mode():
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, u: (u * jnp.cos(x).at[37, 5].multiply(1.1),))
    x = np.array(array(40, 30))
    x[37, 5] = 0.3
    report = check_gradients(f, x, order=1)
    forward, reverse = report.comparisons
    assert forward.verdict == "failed"
    assert "custom_vjp" in forward.reason
    assert "(modes=('reverse',) checks the rest)" in forward.reason
    assert reverse.wrong
    assert (reverse.worst.output, reverse.worst.input) == ("output[37, 5]", "args[0][37, 5]")
    assert reverse.worst.expected == pytest.approx(np.cos(0.3))
    assert reverse.worst.found == pytest.approx(1.1 * np.cos(0.3))
    with pytest.raises(AssertionError, match="order 1, reverse +wrong"):
        report.raise_if_failed()


def test_only_reverse_mode_of_a_custom_vjp():
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, u: (u * jnp.cos(x),))
    report = check_gradients(f, array(3), modes=("reverse",))
    report.raise_if_failed()
    names = [c.name for c in report.comparisons]
    assert names == ["order 1, reverse", "order 2, reverse over reverse"]


def test_modes_that_disagree():
    # Reverse mode takes the transpose of a linear function from a rule of its own.
    def f(x):
        return jax.custom_derivatives.linear_call(lambda _, v: 2 * v, lambda _, u: 3 * u, (), x)

    report = check_gradients(f, array(3), order=1)
    assert comparison(report, "order 1, forward").ok
    assert not comparison(report, "order 1, reverse").ok
    products = comparison(report, "order 1, <Jv, u> = <v, J'u>")
    assert products.wrong
    assert products.worst.found == pytest.approx(2 / 3 * products.worst.expected)


def test_second_derivatives_that_are_wrong():
    @jax.custom_jvp
    def slope(x):
        return jnp.cos(x)

    slope.defjvp(lambda p, t: (slope(*p), -1.01 * jnp.sin(p[0]) * t[0]))
    f = jax.custom_jvp(jnp.sin)
    f.defjvp(lambda p, t: (f(*p), slope(p[0]) * t[0]))
    assert check_gradients(f, array(3), order=1).ok
    report = check_gradients(f, array(3), order=2)
    wrong = [c.name for c in report.comparisons if not c.ok]
    assert wrong == [
        f"order 2, {a} over {b}" for b in ("forward", "reverse") for a in ("forward", "reverse")
    ]
    assert "d jvp(output)[" in str(report)
    assert "order 3" in str(check_gradients(jnp.sin, 1.0, order=3, modes="forward"))


@pytest.mark.parametrize(
    ("f", "x", "slopes"),
    [
        (jax.nn.relu, [0.0, 1.0, -1.0], (0, 1)),
        (jnp.abs, [0.0, 1.0, -1.0], (-1, 1)),
        (jnp.max, [2.0, 1.0, 2.0], (0, 1)),
        (lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2,), (2,), "VALID"),
         [1.0, 1.0, 0.5, 2.0], (0, 1)),
        (lambda x: 1e3 + 1e-3 * jax.nn.relu(x), [0.0, 1.0], (0, 1e-3)),
    ],
)  # fmt: skip
def test_kinks_are_called_so(f, x, slopes):
    report = check_gradients(f, jnp.array(x))
    report.raise_if_failed()
    for mode in ("forward", "reverse"):
        found = comparison(report, f"order 1, {mode}")
        assert found.verdict == "kinks"
        assert (found.worst.left, found.worst.right) == pytest.approx(slopes, rel=1e-2)
    assert "kink: d output" in str(report)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_slopes_at_a_kink_are_those_by_the_input(sign, monkeypatch):
    """Whichever way the line through the point goes."""
    direction = Subject.direction
    forced = lambda *args: sign * np.abs(direction(*args))  # noqa: E731
    monkeypatch.setattr(Subject, "direction", forced)
    report = check_gradients(jax.nn.relu, 0.0, order=1, modes="forward")
    worst = comparison(report, "order 1, forward").worst
    assert (worst.left, worst.right) == pytest.approx((0, 1))


def test_a_wrong_rule_at_a_kink_is_wrong():
    f = jax.custom_jvp(lambda x: jnp.maximum(x, 0))
    f.defjvp(lambda p, t: (f(*p), jnp.where(p[0] > 0, 1.0, jnp.where(p[0] < 0, 0, 2)) * t[0]))
    report = check_gradients(f, jnp.array([0.0, -1.0, 1.0]), order=1)
    assert comparison(report, "order 1, forward").verdict == "wrong"
    text = "d output[0] / d args[0][0]: at a kink, expected between its slopes 0 and 1, found 2"
    assert text in str(report)


def test_relu_minus_relu_is_smooth_and_its_derivative_wrong():
    # JAX says 0 for x = relu(x) - relu(-x) at 0, as all do that differentiate by programs.
    report = check_gradients(lambda x: jax.nn.relu(x) - jax.nn.relu(-x), 0.0, order=1)
    assert "d output / d args[0]: expected 1, found 0" in str(report)


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_kinks_nearby_are_no_errors(distance):
    report = check_gradients(lambda x: jax.nn.relu(x) + x**2, distance, order=1)
    report.raise_if_failed()
    assert ("kinks" in str(report)) == (distance < 2e-8)


@pytest.mark.parametrize("seed", range(3))
def test_random_relu_networks_at_generic_points(seed):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(20, 20)) / 4 for _ in range(3)]

    def f(weights, x):
        for w in weights:
            x = jax.nn.relu(x @ w)
        return (x**2).sum()

    report = check_gradients(f, weights, rng.normal(size=(4, 20)), directions=32, seed=seed)
    report.raise_if_failed()
    assert not any(c.inconclusive for c in report.comparisons)


def test_many_kinks_at_once_are_no_errors():
    # Along a line through x the slopes on both sides may leave out what is found (0).
    signs = np.random.default_rng(0).choice([-1.0, 1.0], 300)
    report = check_gradients(lambda x: (signs * jax.nn.relu(x)).sum(), jnp.zeros(300), order=1)
    report.raise_if_failed()
    assert comparison(report, "order 1, forward").kinks


def test_domains_with_an_edge():
    for f, x in ((jnp.log, 1e-4), (jnp.sqrt, 1e-4), (lambda x: x * jnp.log(x), 1e-5)):
        check_gradients(f, x).raise_if_failed()


@pytest.mark.parametrize(("f", "x"), [(jnp.sqrt, 0.0), (jnp.log, -1.0), (lambda x: x / 0, 1.0)])
def test_what_is_not_finite_never_passes(f, x):
    report = check_gradients(f, jnp.array([1.0, x]), order=1)
    assert not report.ok
    assert "not finite: d output[1] / d args[0][1]" in str(report)


def test_differences_that_cannot_tell_say_so():
    report = check_gradients(lambda x: 1e16 + x, 1.0, order=1)
    assert not report.ok
    assert report.comparisons[0].verdict == "inconclusive"
    assert "differences are too inexact to tell" in str(report)


def test_single_precision_inside_counts_as_noise():
    def f(x):
        return jnp.sin(x.astype(jnp.float32)).astype(x.dtype)

    check_gradients(f, array(5)).raise_if_failed()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision(dtype):
    skip_unless_compiled(dtype)
    x = jnp.array([0.5, -0.25, 0.75], dtype)
    report = check_gradients(lambda x: x * x, x, order=1, dtype=None)
    report.raise_if_failed()
    f = jax.custom_jvp(lambda x: x * x)
    f.defjvp(lambda p, t: (f(*p), 6 * p[0] * t[0]))
    assert not check_gradients(f, x, order=1, dtype=None).ok


def test_mixed_dtypes_and_complex_results():
    x = {"a": jnp.ones(2, jnp.bfloat16), "b": array(2)}
    report = check_gradients(lambda x: x["a"] * x["b"], x, order=1, dtype=None)
    assert not any(c.wrong or c.reason for c in report.comparisons)
    report = check_gradients(lambda x: jnp.exp(1j * x), array(2))
    report.raise_if_failed()
    assert "4 outputs" in str(report)


def test_options_errors():
    def refuses(message, *args, f=jnp.sin, **options):
        with pytest.raises(ValueError, match=f"check_gradients: {message}"):
            check_gradients(f, *args, **options)

    refuses('modes takes "forward" and "reverse", got \'backward\'', 1.0, modes=("backward",))
    refuses("modes needs at least one mode, got none", 1.0, modes=())
    refuses("order must be an integer >= 1, got 0", 1.0, order=0)
    refuses("directions must be an integer >= 1, got 0", 1.0, directions=0)
    refuses("rtol must be positive, got 0", 1.0, rtol=0.0)
    refuses("needs a floating-point argument, got none", 1)
    refuses(r"takes real arguments, got complex numbers in args\[0\]", 1j)
    refuses(r"f must return floating-point numbers, got int32\[\]", 1.0, f=lambda x: jnp.int32(2))


def test_errors_of_the_function_itself_go_through():
    with pytest.raises(TypeError, match="dot_general requires contracting dimensions"):
        check_gradients(jnp.dot, array(3), array(4))


def test_what_f_closes_over_keeps_its_type():
    x = jnp.ones((1, 4, 4, 1))
    with pytest.raises(ValueError, match="need one dtype") as caught:
        check_gradients(lambda kernel: conv(x, kernel), jnp.ones((3, 3, 1, 1)))
    notes = " ".join(caught.value.__notes__)
    assert "make them arguments, or keep all types with dtype=None" in notes


def test_at_the_edge_of_a_domain_nothing_is_called_wrong():
    report = check_gradients(jnp.log, 1e-9, order=1)  # every step leads out of the domain
    assert [c.verdict for c in report.comparisons[:2]] == ["inconclusive", "inconclusive"]
    assert not report.ok


def test_a_function_that_does_not_move():
    """The loss of one class is 0 whatever the logit; rounding is no derivative of it."""
    loss, params, images = example_loss("perceptron")
    check_gradients(lambda p: loss(p, images), params).raise_if_failed()
    wrong = jax.custom_jvp(lambda x: 0.0 * x)
    wrong.defjvps(lambda t, _, x: 1e-12 * t)
    assert not check_gradients(wrong, 1.0, order=1).ok
