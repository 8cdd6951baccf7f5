import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from helpers import array, assert_close, skip_unless_compiled
from jaxcnn import lowering
from jaxcnn.lowering.bilinear import channels_last
from jaxcnn.lowering.choice import FITS, FORMS, XLA

# lengths, c_in per group, c_out, groups, window, stride, padding, dilation
GEOMETRIES = {
    "plain": ((5, 6), 3, 4, 1, (3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1)),
    "1x1": ((4, 3), 3, 2, 1, (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "1x1, strided": ((5, 4), 3, 2, 1, (1, 1), (2, 3), ((0, 0), (0, 0)), (1, 1)),
    "strided": ((7, 6), 2, 3, 1, (3, 3), (2, 2), ((1, 1), (0, 2)), (1, 1)),
    "strided over gaps": ((9, 8), 2, 3, 1, (2, 2), (3, 3), ((0, 0), (1, 0)), (1, 1)),
    "far strides": ((13, 9), 3, 2, 1, (5, 4), (4, 4), ((2, 1), (0, 3)), (1, 1)),
    "strided and dilated": ((9, 8), 2, 3, 1, (3, 2), (2, 3), ((2, 1), (1, 1)), (2, 2)),
    "dilated": ((8, 7), 2, 3, 1, (2, 3), (1, 1), ((1, 1), (2, 2)), (3, 2)),
    "pixels unseen": ((8, 9), 2, 3, 1, (3, 3), (3, 2), ((0, 0), (0, 0)), (1, 1)),
    "negative padding": ((8, 8), 2, 3, 1, (3, 3), (1, 2), ((-1, 1), (1, -2)), (1, 1)),
    "smaller than the window": ((2, 3), 2, 3, 1, (3, 4), (1, 1), ((1, 1), (2, 1)), (1, 1)),
    "one channel": ((6, 5), 1, 4, 1, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "one channel, strided": ((9, 7), 1, 3, 1, (3, 3), (2, 2), ((1, 0), (1, 1)), (2, 1)),
    "depthwise": ((6, 5), 1, 3, 3, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "depthwise, strided": ((15, 5), 1, 3, 3, (3, 3), (2, 2), ((1, 1), (0, 1)), (1, 1)),
    "depthwise, two each": ((6, 5), 1, 6, 3, (2, 3), (1, 2), ((1, 1), (1, 1)), (2, 1)),
    "depthwise, row by row": ((7, 6), 1, 4, 2, (4, 3), (1, 1), ((3, 2), (1, 1)), (2, 1)),
    "depthwise, large": ((9, 8), 1, 3, 3, (6, 5), (1, 1), ((2, 3), (2, 2)), (1, 1)),
    "depthwise, large, strided": ((13, 8), 1, 4, 2, (7, 4), (2, 1), ((3, 3), (1, 2)), (1, 2)),
    "grouped": ((5, 4), 2, 6, 3, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "grouped, strided": ((6, 5), 3, 4, 2, (3, 2), (2, 1), ((1, 1), (0, 1)), (1, 1)),
    "blocks of groups": ((3, 3), 33, 32, 16, (2, 2), (1, 1), ((0, 1), (0, 1)), (1, 1)),
    "many groups": ((4, 3), 17, 40, 10, (2, 2), (1, 1), ((0, 1), (0, 1)), (1, 1)),
    "wide": ((5, 4), 128, 130, 1, (3, 3), (1, 1), ((1, 1), (-1, 2)), (1, 1)),
    "1D depthwise, dilated": ((33,), 1, 3, 3, (27,), (1,), ((26, 25),), (2,)),
    "1D": ((9,), 2, 3, 1, (3,), (2,), ((1, 1),), (1,)),
    "3D": ((4, 5, 3), 2, 3, 1, (2, 3, 2), (2, 1, 1), ((0, 1), (1, 1), (0, 1)), (1, 1, 1)),
    "3D depthwise": ((4, 5, 3), 1, 2, 2, (2, 3, 2), (1, 2, 1), ((0, 1), (1, 1), (0, 1)), (1,) * 3),
}


def convolution(function, geometry):
    """The function at a geometry, and its arguments."""
    lengths, c_in, c_out, groups, window, stride, padding, dilation = geometry

    def f(x, kernel):
        return function(
            x,
            kernel,
            stride,
            padding,
            rhs_dilation=dilation,
            dimension_numbers=channels_last(len(lengths)),
            feature_group_count=groups,
        )

    return f, (array(2, *lengths, c_in * groups), array(*window, c_in, c_out, seed=1))


def everything(f, x, kernel):
    """Value and both gradients, of one program."""
    return jax.jit(lambda x, kernel: all_three(f, x, kernel))(x, kernel)


def all_three(f, x, kernel):
    y, back = jax.vjp(f, x, kernel)
    return y, *back(jnp.cos(y))


def forms(f, *args):
    """The forms that some operation of f's derivatives takes when asked."""
    found = [None]
    for form in FORMS:
        with lowering.use(form):
            back = lambda *a: jax.vjp(f, *a)[1](f(*a))  # noqa: E731
            if any(d.form == form != XLA for d in lowering.explain(back, *args, platform="cpu")):
                found.append(form)
    return found


@pytest.mark.optimized
@pytest.mark.parametrize("name", GEOMETRIES)
def test_forms_equal_lax(name, x64):
    theirs, args = convolution(lax.conv_general_dilated, GEOMETRIES[name])
    ours, _ = convolution(lowering.conv_general_dilated, GEOMETRIES[name])
    wanted = forms(ours, *args)

    @jax.jit
    def of_each(*args):
        found = {"lax": all_three(theirs, *args)}
        for form in wanted:
            with lowering.use(form) if form else contextlib.nullcontext():
                found[str(form)] = all_three(ours, *args)
        return found

    results = of_each(*args)
    expected = results.pop("lax")
    for form, actual in results.items():
        for what, a, e in zip(("y", "by x", "by kernel"), actual, expected, strict=True):
            assert a.dtype == e.dtype
            assert_close(a, e, "float64", where=f"{form} {what}")


def test_every_form_is_tested(x64):
    tested = set()
    for geometry in GEOMETRIES.values():
        f, args = convolution(lowering.conv_general_dilated, geometry)
        tested |= set(forms(f, *args))
    convolutions = ("conv", "conv_by_x", "conv_by_kernel")
    assert tested - {None} == {form for c in convolutions for form in FITS[c]} - {XLA}


@pytest.mark.optimized
@pytest.mark.parametrize(("form", "limit"), [("winograd2", 2e-6), ("winograd4", 5e-5)])
def test_winograd_s_error(form, limit):
    f, args = convolution(lowering.conv_general_dilated, GEOMETRIES["wide"])
    dy = array(*jax.eval_shape(f, *args).shape, seed=2)

    def passes(x, kernel, dy):
        y, back = jax.vjp(f, x, kernel)
        return y, *back(dy)

    with lowering.use(form):
        actual = jax.jit(passes)(*args, dy)
    with jax.enable_x64(True):
        expected = passes(*(jnp.asarray(np.asarray(a), jnp.float64) for a in (*args, dy)))
    for a, e in zip(actual, expected, strict=True):
        error = np.abs(np.asarray(a, np.float64) - np.asarray(e)).max() / np.abs(e).max()
        assert 0 < error <= limit


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "name", ["plain", "depthwise", "depthwise, large", "grouped", "strided", "one channel"]
)
def test_narrow_types(name, dtype):
    skip_unless_compiled(dtype)
    theirs, args = convolution(lax.conv_general_dilated, GEOMETRIES[name])
    ours, _ = convolution(lowering.conv_general_dilated, GEOMETRIES[name])
    args = [a.astype(dtype) for a in args]
    expected = everything(theirs, *(a.astype(jnp.float32) for a in args))
    for a, e in zip(everything(ours, *args), expected, strict=True):
        assert a.dtype == dtype
        assert_close(a, e, "bfloat16")


@pytest.mark.parametrize("name", ["plain", "depthwise", "grouped", "strided"])
@pytest.mark.parametrize("spread", [(2, 1), (3, 3)])
def test_transposed(name, spread, x64):
    lengths, c_in, c_out, groups, window, _, padding, dilation = GEOMETRIES[name]

    def f(function):
        return lambda x, kernel: function(
            x,
            kernel,
            (1, 1),
            padding,
            lhs_dilation=spread,
            rhs_dilation=dilation,
            dimension_numbers=channels_last(2),
            feature_group_count=groups,
        )

    args = array(2, *lengths, c_in * groups), array(*window, c_in, c_out, seed=1)
    names = {d.operation for d in lowering.explain(f(lowering.conv_general_dilated), *args)}
    assert names == {"conv_by_x"}
    expected = everything(f(lax.conv_general_dilated), *args)
    for a, e in zip(everything(f(lowering.conv_general_dilated), *args), expected, strict=True):
        assert_close(a, e, "float64")


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "SAME"},
        {"padding": "VALID", "rhs_dilation": (2, 1)},
        {"padding": "SAME_LOWER", "window_strides": (2, 2)},
        {"padding": ((1, 1), (1, 1)), "lhs_dilation": (2, 2), "window_strides": (2, 1)},
        {"padding": "SAME", "precision": "highest"},
        {"padding": "SAME", "precision": (lax.Precision.HIGH, lax.Precision.DEFAULT)},
        {"padding": "SAME", "preferred_element_type": jnp.float32},
        {"padding": "SAME", "dimension_numbers": ("NCHW", "OIHW", "NCHW"), "swap": True},
        {"padding": "SAME", "batch_group_count": 2},
        {"padding": "SAME", "dtype": jnp.int32},
        {"padding": "SAME", "batch": 0},
        {"padding": ((0, 0), (0, 0)), "window": (5, 5)},
    ],
    ids=str,
)
def test_signature(options):
    """All that `lax` takes, ours or handed on."""
    options = {"window_strides": (1, 1), "dimension_numbers": channels_last(2)} | options
    batch, window = options.pop("batch", 2), options.pop("window", (3, 3))
    dtype = options.pop("dtype", jnp.float32)
    x, kernel = array(batch, 4, 5, 3).astype(dtype), array(*window, 3, 4, seed=1).astype(dtype)
    if options.pop("swap", False):
        x, kernel = x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1)
    expected = lax.conv_general_dilated(x, kernel, **options)
    actual = lowering.conv_general_dilated(x, kernel, **options)
    assert actual.dtype == expected.dtype
    assert_close(actual, expected, where=str(options))


def test_positional_arguments():
    """In lax's order, as Flax and others call it."""
    x, kernel = array(2, 5, 5, 4), array(3, 3, 2, 4, seed=1)
    args = ((2, 1), "SAME", None, (1, 2), channels_last(2), 2, 1, None, None)
    expected = lax.conv_general_dilated(x, kernel, *args)
    assert_close(lowering.conv_general_dilated(x, kernel, *args), expected)


def test_flax_module():
    """The one-line cure of existing code."""
    x = array(2, 6, 6, 8)
    stock = nn.Conv(8, (3, 3), feature_group_count=8)
    cured = stock.clone(conv_general_dilated=lowering.conv_general_dilated)
    variables = stock.init(jax.random.key(0), x)
    (decision,) = lowering.explain(cured.apply, variables, x, platform="cpu")
    assert decision.form == "shifts"

    def loss(model):
        return lambda v, x: (model.apply(v, x) ** 2).sum()

    actual, expected = (jax.grad(loss(m), (0, 1))(variables, x) for m in (cured, stock))
    jax.tree.map(assert_close, actual, expected)


def test_default_precision_is_that_of_the_trace():
    x, kernel = array(1, 3, 3, 2), array(2, 2, 2, 2)

    def precision(f):
        return jax.make_jaxpr(f)(x, kernel).eqns[0].params["how"].precision

    f, _ = convolution(lowering.conv_general_dilated, GEOMETRIES["plain"])
    assert precision(f) is None
    with jax.default_matmul_precision("highest"):
        assert precision(f) == "highest"


def test_errors_are_lax_s():
    x, kernel = array(1, 3, 3, 2), array(2, 2, 3, 2)
    options = {"padding": "SAME", "dimension_numbers": channels_last(2)}
    for function in (lax.conv_general_dilated, lowering.conv_general_dilated):
        with pytest.raises(ValueError, match="feature dimension size, but 2 // 1 != 3"):
            function(x, kernel, (1, 1), **options)
        with pytest.raises(ValueError, match="String padding is not implemented for transposed"):
            function(x, array(2, 2, 2, 2), (1, 1), lhs_dilation=(2, 2), **options)


def test_conv_transpose_is_the_adjoint(x64):
    x, kernel = array(2, 7, 6, 4), array(3, 2, 2, 6, seed=1)
    options = {"stride": (2, 3), "padding": ((1, 0), (0, 1)), "dilation": (1, 2)}
    y = lowering.conv_general_dilated(
        x,
        kernel,
        options["stride"],
        options["padding"],
        rhs_dilation=options["dilation"],
        dimension_numbers=channels_last(2),
        feature_group_count=2,
    )
    c = array(*y.shape, seed=2)
    back = lowering.conv_transpose(c, kernel, x.shape[1:-1], groups=2, **options)
    assert_close(np.vdot(back, x), np.vdot(c, y), "float64")
    with lowering.use("xla"):
        assert_close(
            lowering.conv_transpose(c, kernel, x.shape[1:-1], groups=2, **options), back, "float64"
        )
