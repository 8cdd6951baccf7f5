import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from helpers import TOLERANCES, array, assert_close
from jaxcnn.autodiff.costs.comparison import short
from jaxcnn.autodiff.costs.flops import count_flops
from jaxcnn.autodiff.costs.modes import compare_modes, jacobian

QUICK = {"seconds": 0.0}


def wide(x):
    """Three inputs, 40 outputs."""
    return jnp.sin(jnp.outer(jnp.arange(40.0), x).sum(axis=1)) * x.sum()


def tall(x):
    """40 inputs, three outputs."""
    return jnp.stack([jnp.sin(x).sum(), (x**2).sum(), jnp.exp(x.sum())])


@jax.custom_vjp
def only_reverse(x):
    return jnp.sin(x)


only_reverse.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


def only_forward(x):
    return lax.while_loop(lambda x: x.sum() < 10, lambda x: 2 * x, x)


def test_counts_passes_and_flops():
    report = compare_modes(wide, array(3), **QUICK)
    assert (report.inputs, report.outputs) == (3, 40)
    passes = {name: cost.passes for name, cost in report.costs.items()}
    assert passes == {
        "function": 1, "jvp": 1, "vjp": 1, "jacfwd": 3, "jacrev": 40, "numerical": 6
    }  # fmt: skip
    assert report.costs["function"].flops == count_flops(wide, array(3)).total
    tangents = count_flops(lambda x: jax.jvp(wide, (x,), (x,)), array(3)).total
    assert report.costs["jvp"].flops == tangents
    assert report.costs["jacrev"].flops == count_flops(jax.jacrev(wide), array(3)).total
    for cost in report.costs.values():
        assert cost.seconds > 0
        assert cost.temporary_bytes >= 0
        assert cost.note == ""


@pytest.mark.parametrize(("f", "n", "mode"), [(wide, 3, "forward"), (tall, 40, "reverse")])
def test_recommends_the_cheaper_mode(f, n, mode):
    report = compare_modes(f, array(n), **QUICK)
    assert report.recommendation == mode
    m, outputs, costs = report.inputs, report.outputs, report.costs
    forward = m * (costs["jvp"].flops + m + outputs)
    reverse = outputs * (costs["vjp"].flops + m + outputs)
    assert (forward < reverse) == (mode == "forward")
    assert f"{forward:,}" in report.why
    assert f"{reverse:,}" in report.why


def test_memory_is_the_programs():
    """Reverse mode keeps what a scan of 64 steps computes, forward mode does not."""

    def deep(x):
        return lax.scan(lambda x, _: (jnp.sin(x), None), x, length=64)[0].sum()

    costs = compare_modes(deep, array(1000), max_passes=0, **QUICK).costs
    assert costs["jvp"].temporary_bytes < 10 * 4000
    assert costs["vjp"].temporary_bytes > 64 * 4000


def test_modes_agree(x64):
    report = compare_modes(tall, array(40), **QUICK)
    pairs = {
        "jvp against vjp", "jacfwd against jacrev", "jacfwd against numerical",
        "jacrev against numerical",
    }  # fmt: skip
    assert report.disagreements.keys() == pairs
    assert report.disagreements["jvp against vjp"] < TOLERANCES["float64"]
    assert report.disagreements["jacfwd against jacrev"] < TOLERANCES["float64"]
    assert report.disagreements["jacfwd against numerical"] < 1e-8


def test_a_wrong_rule_disagrees(x64):
    @jax.custom_jvp
    def wrong(x):
        return x**2

    wrong.defjvp(lambda p, t: (wrong(*p), 2.2 * p[0] * t[0]))
    found = compare_modes(lambda x: wrong(x).sum(), array(5), **QUICK).disagreements
    assert found["jacfwd against jacrev"] < TOLERANCES["float64"]  # both use the rule
    assert found["jacfwd against numerical"] == pytest.approx(0.2 / 2.2, abs=1e-6)

    @jax.custom_jvp
    def uneven(x):
        return jnp.sin(x)

    def rule(primals, tangents):  # its tangents are right, its transpose is not
        linear = jax.custom_derivatives.linear_call(
            lambda x, t: t * jnp.cos(x), lambda x, t: 3 * t * jnp.cos(x), *primals, *tangents
        )
        return jnp.sin(primals[0]), linear

    uneven.defjvp(rule)
    x = array(5)
    forward = jax.jvp(lambda x: uneven(x).sum(), (x,), (x,))[1]
    assert_close(forward, jnp.cos(x) @ x, "float64")
    found = compare_modes(lambda x: uneven(x).sum(), x, max_passes=0, **QUICK).disagreements
    assert found["jvp against vjp"] > 0.1


def test_large_jacobians_are_left_out():
    x = array(2, 300)
    report = compare_modes(lambda w: (jnp.sin(x @ w) ** 2).sum(), array(300, 200), **QUICK)
    assert (report.inputs, report.outputs) == (60_000, 1)
    assert report.costs["jacfwd"].note == "left out: 60,000 passes, more than 1,024"
    assert report.costs["numerical"].note == "left out: 120,000 passes, more than 1,024"
    assert report.costs["jacfwd"].seconds is None
    assert report.costs["jacrev"].seconds > 0
    assert report.recommendation == "reverse"
    assert report.disagreements.keys() == {"jvp against vjp"}
    few = compare_modes(wide, array(3), max_bytes=100, **QUICK)
    assert "bytes, more than 100" in few.costs["jacfwd"].note
    assert few.costs["jvp"].seconds > 0


def test_functions_with_one_mode():
    report = compare_modes(only_reverse, array(3), **QUICK)
    assert report.costs["jvp"].note.startswith("none: can't apply forward-mode")
    assert (report.recommendation, report.why) == ("reverse", "the function has no jvp")
    report = compare_modes(only_forward, jnp.ones(3), **QUICK)
    assert report.costs["vjp"].note.startswith("none: Reverse-mode differentiation does not work")
    assert (report.recommendation, report.why) == ("forward", "the function has no vjp")
    # 3, 6 and 12: two turns of a doubling, three sums of three
    assert report.costs["function"].flops == 2 * 3 + 3 * 2

    def neither(x):
        return jax.pure_callback(lambda x: x, x, x, vmap_method="sequential")

    assert compare_modes(neither, array(3), **QUICK).recommendation == "numerical"


def test_integers_stay_and_pytrees_work():
    def f(x, n, rest):
        return {"y": x[: rest["k"].shape[0]] * n, "index": jnp.argmax(x)}

    report = compare_modes(f, array(4), 3, {"k": array(2)}, **QUICK)
    assert (report.inputs, report.outputs) == (6, 2)
    assert report.disagreements["jacfwd against jacrev"] == 0


def test_prints():
    report = compare_modes(tall, array(40), **QUICK)
    lines = str(report).splitlines()
    assert lines[0] == "40 inputs, 3 outputs"
    assert lines[2].split() == "program passes FLOPs x f temporary time x f".split()
    for line, (start, passes) in zip(
        lines[3:],
        [
            ("f alone", "1"),
            ("one direction: jvp", "1"),
            ("one direction: vjp", "1"),
            ("whole Jacobian: jacfwd", "40"),
            ("whole Jacobian: jacrev", "3"),
            ("whole Jacobian: central differences", "80"),
        ],
        strict=False,
    ):
        assert line.startswith(start)
        assert line[len(start) :].split()[0] == passes
    assert lines[-1].startswith("Recommended: reverse mode (40 forward passes at ")
    markdown = report.markdown()
    assert "| whole Jacobian: jacrev | 3 | " in markdown
    assert markdown.splitlines()[-1] == lines[-1]


def test_large_numbers_are_short():
    numbers = (1, 12_345, 1_234_567, 5 * 10**9, 2 * 10**13, 3 * 10**17)
    texts = ["1", "12,345", "1.23 million", "5 billion", "20 trillion", "3.00e+17"]
    assert [short(number) for number in numbers] == texts


def test_compare_modes_errors():
    with pytest.raises(ValueError, match="compare_modes: needs a floating-point argument"):
        compare_modes(jnp.abs, jnp.arange(3))
    with pytest.raises(ValueError, match="compare_modes: f must return floating-point"):
        compare_modes(jnp.argmax, jnp.ones(3))
    with pytest.raises(ValueError, match="compare_modes: takes real arguments, got complex"):
        compare_modes(jnp.abs, jnp.ones(3, complex))
    with pytest.raises(ZeroDivisionError):  # an error of f's own stays what it is
        compare_modes(lambda x: x * (1 / 0), jnp.ones(3))


# jacobian


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_jacobian_is_jaxs(mode, x64):
    def f(x, w, n):
        return {"y": jnp.tanh(w @ x["a"]) * x["b"] ** n}

    @jax.jit
    def ours_and_theirs(x, w):
        ours = [jacobian(f, argnums, mode=mode)(x, w, 2) for argnums in (0, 1, (1, 0))]
        return ours, [jax.jacrev(f, argnums)(x, w, 2) for argnums in (0, 1, (1, 0))]

    def assert_same(found, expected):
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        jax.tree.map(lambda a, e: assert_close(a, e, "float64"), found, expected)

    x, w = {"a": array(3), "b": array()}, array(4, 3)
    ours, theirs = ours_and_theirs(x, w)
    assert_same(ours, theirs)
    assert_same(jacobian(f, mode=mode)(x, w, 2), theirs[0])
    stacked = jnp.asarray(np.stack([w, 2 * np.asarray(w)]))
    batched = jax.jit(jax.vmap(lambda w: jacobian(f, mode=mode)(x, w, 2)["y"]["a"]))(stacked)
    _, of_twice = ours_and_theirs(x, stacked[1])
    assert_close(batched[1], of_twice[0]["y"]["a"], "float64")


def chosen(f, *args, argnums=0):
    """The mode that "auto" takes, seen on the jaxpr, for each mode gives another."""
    found = str(jax.make_jaxpr(jacobian(f, argnums))(*args))
    modes = {
        "forward": str(jax.make_jaxpr(jax.jacfwd(f, argnums))(*args)),
        "reverse": str(jax.make_jaxpr(jax.jacrev(f, argnums))(*args)),
    }
    assert modes["forward"] != modes["reverse"]
    (mode,) = [mode for mode, text in modes.items() if text == found]
    return mode


def test_jacobian_chooses_the_cheaper_mode():
    assert chosen(wide, array(3)) == "forward"
    assert chosen(tall, array(40)) == "reverse"
    assert chosen(lambda x, w: w @ x, array(30), array(2, 30), argnums=1) == "reverse"
    assert chosen(jnp.sin, array()) == "forward"
    # No arithmetic at all: fewer numbers are moved by three passes than by 40.
    assert chosen(lambda x: x[jnp.array([1, 5, 1])], array(40)) == "reverse"
    assert chosen(lambda x: jnp.tile(x, 20), array(2)) == "forward"


def test_jacobian_takes_the_mode_there_is():
    x = array(40)
    assert_close(jax.jit(jacobian(only_reverse))(x), np.diag(np.cos(x)))
    total = jax.jit(jacobian(lambda x: only_forward(x).sum()))
    assert_close(total(np.ones(3, np.float32)), np.full(3, 4.0))


def test_jacobian_errors():
    with pytest.raises(ValueError, match="jacobian: mode is \"auto\", .* got 'backward'"):
        jacobian(jnp.sin, mode="backward")


def test_jacobian_of_truths():
    with pytest.raises(ValueError, match="jacobian: f must return floating-point .* got bool"):
        jacobian(lambda x: (x > 0, x * 2))(jnp.ones(3))


def test_what_is_not_counted_is_told():
    report = compare_modes(jnp.linalg.eigvalsh, jnp.eye(3), seconds=0.01)
    assert "not counted: " in report.why
    assert "eigh" in report.why
