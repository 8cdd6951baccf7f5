import itertools
import re

import jax
import jax.numpy as jnp
import pytest

from helpers import array, assert_close
from jaxcnn import lowering
from jaxcnn.functional import conv, max_pool
from jaxcnn.lowering.choice import FITS, FORMS, RULES, SIDE_BY_SIDE, Case
from jaxcnn.lowering.windows import Windows


def form(f, *args):
    return [d.form for d in lowering.explain(f, *args, platform="cpu")]


def test_the_table_names_forms_that_exist():
    assert RULES.keys() == FITS.keys()
    for operation, rules in RULES.items():
        for rule in rules:
            assert rule.form in FITS[operation], f"{operation}: {rule.form}"
            assert rule.why


def test_the_table_chooses_what_fits():
    axes = {"lengths": (3, 30), "window": (1, 3, 13), "stride": (1, 2, 4), "dilation": (1, 2)}
    for length, window, stride, dilation in itertools.product(*axes.values()):
        for groups, c_in, c_out in ((1, 1, 6), (1, 3, 8), (1, 128, 128), (4, 1, 8), (4, 2, 8)):
            two = [(n, n) for n in (length, window, stride)]
            how = Windows(*two, ((6, 6),) * 2, (dilation,) * 2, groups)
            case = Case(how, c_in, c_out, 1)
            for operation, rules in RULES.items():
                rule = next((rule for rule in rules if rule.when(case)), None)
                fits = rule is None or FITS[operation][rule.form](case)
                assert fits, f"{operation}: {rule.form} for {case}"


def test_use_xla_leaves_jax_s_operations():
    x, kernel = array(1, 6, 6, 4), array(3, 3, 1, 4)

    def f(x, kernel):
        return max_pool(conv(x, kernel, groups=4), 2)

    assert form(f, x, kernel) == ["shifts", "shifts"]
    with lowering.use("xla"):
        names = [e.primitive.name for e in jax.make_jaxpr(f)(x, kernel).eqns]
        plain = f(x, kernel)
    assert {"conv_general_dilated", "reduce_window_max"} <= set(names)
    assert_close(f(x, kernel), plain)


@pytest.mark.parametrize(
    ("members", "images", "expected"),
    [(3, 2, "members"), (3, 1, "groups"), (SIDE_BY_SIDE + 1, 2, "groups")],
)
def test_members_with_kernels_of_their_own(members, images, expected):
    x, kernel = array(members, images, 6, 6, 2), array(members, 3, 3, 2, 4)
    both = jax.vmap(conv)
    assert form(both, x, kernel) == [expected]
    with lowering.use("patches"):
        assert form(both, x, kernel) == [expected]
    y = jax.jit(both)(x, kernel)
    for i in range(members):
        assert_close(y[i], conv(x[i], kernel[i]), "float32 sums")


def test_a_member_that_is_not_finite_leaves_the_others_alone():
    x, kernel = array(3, 2, 6, 6, 2), array(3, 3, 3, 2, 4)

    def gradient(x, kernel):
        return jax.grad(lambda kernel: (conv(x, kernel) ** 2).sum())(kernel)

    expected = jax.jit(jax.vmap(gradient))(x, kernel)
    found = jax.jit(jax.vmap(gradient))(x.at[1].set(jnp.inf), kernel)
    assert not jnp.isfinite(found[1]).any()
    assert_close(found[::2], expected[::2])


def test_use_reaches_into_jit_and_ends():
    x, kernel = array(1, 5, 5, 2), array(3, 3, 2, 4)
    f = jax.jit(conv)
    assert form(f, x, kernel) == ["xla"]
    with lowering.use("patches"):
        assert form(f, x, kernel) == ["patches"]
        with lowering.use("xla"):
            assert form(f, x, kernel) == []
        assert form(f, x, kernel) == ["patches"]
    assert form(f, x, kernel) == ["xla"]


def test_use_where_it_does_not_fit():
    with lowering.use("shifts"):
        assert form(conv, array(1, 5, 5, 2), array(3, 3, 2, 4)) == ["xla"]


def test_use_reaches_the_derivatives():
    x, kernel = array(1, 5, 5, 2), array(3, 3, 2, 4)

    def gradient(x, kernel):
        return jax.grad(lambda x, k: conv(x, k).sum(), (0, 1))(x, kernel)

    with lowering.use("patches"):
        assert set(form(gradient, x, kernel)) == {"patches"}


def test_use_error():
    with pytest.raises(ValueError, match=f"use: form must be one of {FORMS[0]}, .*'fast'"):
        lowering.use("fast")


@pytest.mark.parametrize("form", ["dot", "winograd2", "blocks", "shifts"])
def test_empty_batch(form):
    x, kernel = jnp.zeros((0, 4, 4, 128)), array(3, 3, 128, 128)
    groups = {"blocks": 2, "shifts": 128}.get(form, 1)
    window = 1 if form == "dot" else 3
    kernel = kernel[:window, :window, : 128 // groups]
    with lowering.use(form):
        y, back = jax.vjp(lambda x, k: conv(x, k, groups=groups), x, kernel)
        dx, dk = back(y)
    assert dx.shape == x.shape
    assert_close(dk, jnp.zeros_like(kernel))


def test_empty_outputs_are_xla_s():
    x, kernel = jnp.zeros((2, 2, 2, 3)), jnp.zeros((1, 1, 3, 0))
    y = lowering.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=lowering.channels_last(2)
    )
    assert y.shape == (2, 2, 2, 0)


def test_convolutions_and_their_gradients_have_the_channels_last():
    """XLA's CPU compiler reorders no others inside a loop, and computes them by naive loops."""

    def loss(x, kernel):
        return (conv(x, kernel, stride=2) ** 2).sum() + (conv(x, kernel) ** 2).sum()

    x, kernel = jnp.ones((2, 9, 9, 8)), jnp.ones((3, 3, 8, 16))
    lowered = jax.jit(jax.grad(loss, (0, 1))).trace(x, kernel).lower(lowering_platforms=("cpu",))
    orders = re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", lowered.as_text())
    assert set(orders) == {
        "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]",
        "[b, 0, f]x[0, i, o]->[b, 0, f]",
    }
