import builtins
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from jax import lax

from helpers import array, assert_close
from jaxcnn.autodiff.symbols import scalars
from jaxcnn.autodiff.symbols.expressions import symbolic
from jaxcnn.functional import (
    avg_pool,
    batch_norm,
    conv,
    conv_transpose,
    dense,
    elu,
    gelu,
    group_norm,
    layer_norm,
    leaky_relu,
    local_response_norm,
    max_pool,
    max_pool_with_argmax,
    relu,
    silu,
    softmax,
    softplus,
)
from jaxcnn.losses import bce_with_logits, cross_entropy, huber, l1

LIMIT = 1e-10  # the issue's


def assert_symbolic(f, *args, argnums: int | tuple[int, ...] = 0):
    """Values and Jacobian of the lambdified expressions are JAX's in float64."""
    found = symbolic(f, *args)
    values, slopes = found.lambdify()(*args), found.lambdify(found.jacobian(argnums))(*args)
    with jax.enable_x64(True):
        leaves, tree = jax.tree.flatten(args)
        floats = [jnp.issubdtype(np.asarray(leaf).dtype, jnp.inexact) for leaf in leaves]

        def both(*varying):  # compiled whole, with the integers as constants: much faster
            given = iter(varying)
            wide = [
                next(given) if float_ else jnp.asarray(a)
                for float_, a in zip(floats, leaves, strict=True)
            ]
            return f(*tree.unflatten(wide)), jax.jacrev(f, argnums)(*tree.unflatten(wide))

        varying = [
            np.asarray(a, np.float64) for float_, a in zip(floats, leaves, strict=True) if float_
        ]
        expected = jax.tree.map(np.asarray, jax.jit(both)(*varying))
    assert jax.tree.structure(expected) == jax.tree.structure((values, slopes))
    moves = 0.0
    for actual, e in zip(jax.tree.leaves((values, slopes)), jax.tree.leaves(expected), strict=True):
        assert actual.shape == e.shape
        np.testing.assert_allclose(actual, e, rtol=LIMIT, atol=LIMIT)
    for e in jax.tree.leaves(expected[1]):
        moves += np.abs(e).sum()
    assert moves > 0, "nothing to differentiate"
    return found


ELEMENTWISE = {
    "arithmetic": lambda x: (x + 2) * x / (3 - x) - 0.3 * x**3 + 2.0**x,
    "exponentials": lambda x: (
        jnp.exp(x) + jnp.expm1(x) * jnp.log1p(x**2) + jnp.log(x**2 + 1) / jnp.log2(x**2 + 3)
    ),
    "trigonometry": lambda x: jnp.sin(x) * jnp.cos(x) + jnp.tan(x) + jnp.arctan2(x, x[::-1] + 3),
    "hyperbolic": lambda x: jnp.tanh(x) + jnp.sinh(x) / jnp.cosh(x) + jnp.arcsinh(x),
    "inverses": lambda x: (
        jnp.arcsin(x / 4) + jnp.arccos(x / 4) + jnp.arctanh(x / 4) + jnp.arctan(x)
    ),
    "roots": lambda x: jnp.sqrt(x**2 + 1) + lax.rsqrt(x**2 + 1) + jnp.cbrt(x) + (x**2) ** 0.7,
    "erf": lambda x: jax.scipy.special.erf(x) - jax.scipy.special.erfc(x) * lax.erf_inv(x / 4),
    "gamma": lambda x: lax.lgamma(x**2 + 1) + lax.digamma(x**2 + 1),
    "kinks": lambda x: jnp.abs(x) + jnp.maximum(x, 0.2) * jnp.minimum(x, 0.3) + jnp.clip(x, -1, 1),
    "steps": lambda x: x * jnp.sign(x) + x * jnp.floor(x) + jnp.ceil(x) * x + x % 0.7,
    "where": lambda x: jnp.where((x > 0) & (x < 0.5) | ~(x >= -1), jnp.exp(x), x**2),
    "casts": lambda x: (x > 0).astype(float) * x + jnp.where((x > 0.1).astype(bool), x, 2 * x),
    "xlogy": lambda x: jax.scipy.special.xlogy(x**2, x**2) + jax.nn.sigmoid(x),
    "nan where unused": lambda x: jnp.where(x > 0, x, jnp.nan_to_num(x) * 2),
    "stop_gradient": lambda x: lax.stop_gradient(x**2) * x + x,
    "layers": lambda x: elu(x) + leaky_relu(x) + silu(x) + softplus(x) + gelu(x) + relu(x),
    "grad": jax.grad(lambda x: jnp.sum(jnp.tanh(x) ** 2) / jnp.sum(jnp.exp(x))),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_is_jacrev(name):
    assert_symbolic(ELEMENTWISE[name], array(5))


ARRAYS = {
    "reductions": lambda x: x.sum(0) * x.prod(0) + x.max(0) - x.min(0) + jnp.var(x) + jnp.std(x),
    "cumulative": lambda x: jnp.cumsum(x, 1) * jnp.cumprod(x, 0) + lax.cummax(x, 1, reverse=True),
    "logsumexp": lambda x: jax.nn.logsumexp(x, axis=1) + jnp.linalg.norm(x, axis=1),
    "moves": lambda x: jnp.roll(x, 1, 0) * jnp.pad(x, ((0, 0), (2, 0)), constant_values=3)[:, :4],
    "joins": lambda x: jnp.concatenate([x, x[::-1] ** 2]).T.reshape(-1)[3:9],
    "updates": lambda x: x.at[1].set(x[2] ** 2).at[jnp.array([0, 0]), 1].add(x[2, :2] ** 2),
    "gather": lambda x: jnp.take(x.ravel() ** 2, np.array([3, 0, 50]), mode="fill", fill_value=0),
    "slices": lambda x: (
        lax.dynamic_slice(x**2, (1, 5), (2, 2))
        + lax.dynamic_update_slice(x, x[:1, :2] * 3, (2, 1))[1:, 1:3]
    ),
    "products": lambda x: jnp.einsum("ij,kj->ik", x, x) + (x @ jnp.arange(12.0).reshape(4, 3)),
    "batched product": lambda x: jnp.einsum("ij,ij->i", x, jnp.sin(x)),
    "determinant": lambda x: jnp.linalg.det(x[:2, :2]),
    "softmax": lambda x: softmax(x) + jax.nn.log_softmax(x, axis=0),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_jacrev(name):
    assert_symbolic(ARRAYS[name], array(3, 4))


def looped(x):
    return lax.scan(lambda c, i: (jnp.sin(c * x) + i, c * i), x, jnp.arange(4.0), reverse=True)


CALLS = {
    "scan": looped,
    "fori_loop": lambda x: lax.fori_loop(0, 5, lambda i, c: c * x + i, x),
    "while_loop": lambda x: lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, x)
    )[1],
    "cond": lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x) + lax.cond(True, jnp.exp, jnp.log, x),
    "switch": lambda x: lax.switch(1, [jnp.sin, jnp.cos, jnp.tan], x),
    "jit": jax.jit(lambda x: jax.checkpoint(jnp.sin)(x) * jax.vmap(jnp.tanh)(x)),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_jacrev(name):
    f = CALLS[name]
    if name != "while_loop":  # JAX has no reverse mode of it
        assert_symbolic(f, array(2))
        return
    found, x = symbolic(f, array(2)), array(2)
    np.testing.assert_allclose(found.lambdify()(x), np.asarray(x, float) ** 4, rtol=LIMIT)


CONVS = [
    {"padding": "VALID"},
    {"stride": 2, "padding": 1},
    {"dilation": 2, "padding": "SAME"},
    {"groups": 2, "stride": (1, 2), "padding": ((0, 1), (2, 0))},
]


@pytest.mark.parametrize("options", CONVS)
def test_conv_is_jacrev(options):
    kernel = array(2, 3, 2 // options.get("groups", 1), 2, seed=1)
    found = assert_symbolic(
        lambda x, kernel, bias: conv(x, kernel, bias, **options),
        array(1, 4, 5, 2),
        kernel,
        array(2, seed=2),
        argnums=(0, 1, 2),
    )
    if options == {"padding": "VALID"}:  # the textbook's sum, term by term
        x, k, b = found.inputs
        taps = np.ndindex(2, 3, 2)
        expected = sum(x[0, 1 + i, 2 + j, c] * k[i, j, c, 1] for i, j, c in taps) + b[1]
        assert found.outputs[0, 1, 2, 1] == expected


def test_padding_leaves_no_term():
    found = symbolic(
        lambda x, k: conv(x, k, padding="SAME"), jnp.ones((1, 2, 1)), jnp.ones((3, 1, 1))
    )
    first, last = found.outputs.ravel()
    assert str(first) == "k_1_0_0*x_0_0_0 + k_2_0_0*x_0_1_0"
    assert str(last) == "k_0_0_0*x_0_0_0 + k_1_0_0*x_0_1_0"


LAYERS = {
    "max_pool": lambda x: max_pool(x, 3, stride=2, padding=1),
    "max_pool_with_argmax": lambda x: max_pool_with_argmax(x, 2)[0],
    "avg_pool": lambda x: avg_pool(x, 3, stride=2, padding=1),
    "conv_transpose": lambda x: conv_transpose(x, x[0, :2, :2, None], stride=2, padding=1),
    "layer_norm": lambda x: layer_norm(x, x[0, 0, 0], x[0, 1, 1]),
    "group_norm": lambda x: group_norm(x[:, :2, :2], x[0, 0, 0], x[0, 1, 1], groups=2),
    "batch_norm": lambda x: batch_norm(
        x, x[0, 0, 0], None, jnp.zeros(2, x.dtype), jnp.ones(2, x.dtype), train=True
    ),
    "local_response_norm": local_response_norm,
    "gradient of avg_pool": jax.grad(lambda x: jnp.sum(avg_pool(jnp.tanh(x), 2) ** 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_jacrev(name):
    assert_symbolic(LAYERS[name], array(1, 3, 4, 2))


def test_network_is_jacrev():
    def loss(x, kernel, bias, labels):
        return cross_entropy(relu(dense(x, kernel, bias)), labels)

    args = (array(2, 3), array(3, 4, seed=1), array(4, seed=2), np.array([1, 3]))
    assert_symbolic(loss, *args, argnums=(0, 1, 2))


def cnn(params, x, labels):
    hidden = relu(conv(x, params["conv"], params["conv_bias"], padding="VALID"))
    hidden = max_pool(hidden, 2).reshape(len(x), -1)
    return cross_entropy(dense(hidden, params["dense"], params["bias"]), labels).mean()


CNN = {
    "conv": array(3, 3, 1, 2),
    "conv_bias": array(2, seed=1),
    "dense": array(2, 3, seed=2),
    "bias": array(3, seed=3),
}


def test_cnn_loss_is_jacrev():
    args = (CNN, array(1, 4, 4, 1, seed=4), np.array([1]))
    found = assert_symbolic(cnn, *args)
    assert found.gradient().keys() == CNN.keys()
    assert str(found.inputs[0]["conv"][2, 0, 0, 1]) == "params_conv_2_0_0_1"


@pytest.mark.parametrize("loss", [huber, l1, bce_with_logits])
def test_losses_are_jacrev(loss):
    assert_symbolic(loss, array(3), jax.nn.sigmoid(array(3, seed=1)))


def test_derivatives_are_sympys():
    def f(x, y):
        return jnp.exp(x * y) * jnp.maximum(x, y) / (1 + x**2) + jnp.where(x > 1, x**y, y)

    found = symbolic(f, 1.0, 2.0)
    for symbol, slope in zip(found.inputs, found.gradient((0, 1)), strict=True):
        at = dict(zip(found.inputs, (sp.Rational(3, 2), sp.Rational(1, 3)), strict=True))
        assert abs((slope - found.outputs.diff(symbol)).subs(at).evalf()) < 1e-14


def test_textbook():
    found = symbolic(lambda x1, x2: jnp.log(x1) + x1 * x2 - jnp.sin(x2), 2.0, 5.0)
    x1, x2 = found.inputs
    assert found.outputs == sp.log(x1) + x1 * x2 - sp.sin(x2)
    assert found.gradient((0, 1)) == (1 / x1 + x2, x1 - sp.cos(x2))
    value, slope = (found.lambdify(e)(2.0, 5.0) for e in (None, found.gradient(1)))
    assert_close(value, math.log(2) + 10 - math.sin(5), "float64")
    assert_close(slope, 2 - math.cos(5), "float64")
    assert found._repr_latex_().startswith(r"$$x_{1} x_{2} + \log")


def test_kinks_and_ties():
    found = symbolic(lambda x: (relu(x), jnp.abs(x), jnp.sign(x)), 0.0)
    slopes = found.lambdify(found.jacobian())(0.0)
    assert [float(s) for s in slopes] == [0.5, 0, 0]
    tie = symbolic(jnp.maximum, 1.0, 1.0)
    assert [float(s) for s in tie.lambdify(tie.gradient((0, 1)))(1.0, 1.0)] == [0.5, 0.5]
    stop = symbolic(lambda x: lax.stop_gradient(jnp.sin(x)), 1.0)
    assert (stop.gradient(), stop.outputs.diff(stop.inputs[0])) == (0, 0)
    assert stop.outputs.subs(stop.inputs[0], sp.Integer(2)) == sp.sin(2)


def test_inputs():
    shape = jax.ShapeDtypeStruct((2, 1), jnp.float32)
    found = symbolic(
        lambda x, *rest: x[rest[0]] * rest[1]["a"] * rest[2], shape, 1, {"a": shape}, 2.0
    )
    (x, place, tree, last) = found.inputs
    assert (str(x[1, 0]), place, str(tree["a"][0, 0]), str(last)) == (
        "x_1_0",
        1,
        "rest2_a_0_0",
        "rest3",
    )
    assert [str(e) for e in found.outputs.ravel()] == [
        "rest2_a_0_0*rest3*x_1_0",
        "rest2_a_1_0*rest3*x_1_0",
    ]
    twice = symbolic(lambda x, x_0: x[0] + x_0, jnp.ones(1), 1.0)  # both would be x_0
    assert len(twice.outputs.free_symbols) == 2
    assert symbolic(jnp.sin, jnp.float32(1)).outputs.func is sp.sin
    dropped = symbolic(
        lambda key, x: jnp.where(jax.random.bernoulli(key, 0.5, (64,)), x, 0),
        jax.random.key(0),
        1.0,
    )
    assert set(dropped.outputs) == {sp.S.Zero, dropped.inputs[1]}


def test_numbers_are_exact():
    found = symbolic(lambda x: x / 8 + 3.0 + 1 / 3 * x**2, 1.0)
    (x,) = found.inputs
    assert found.outputs == x / 8 + 3 + sp.Float(1 / 3) * x**2


def test_shared_parts_cost_once():
    def f(x):
        for _ in range(12):
            x = jnp.sin(x) * jnp.cos(x) + x  # a tree of 3^12 leaves
        return x

    assert_symbolic(f, 0.3)
    weights = array(6, 6)
    assert_symbolic(lambda x: elu(weights @ elu(weights @ elu(weights @ x))), array(6))


def test_too_large():
    ones = jnp.ones((30, 30))
    with pytest.raises(
        ValueError, match=r"symbolic: dot_general takes 27,000 scalar .* limit=20,000"
    ):
        symbolic(jnp.dot, ones, ones)
    with pytest.raises(ValueError, match=r"symbolic: mul takes 4 .* 8 with what .* limit=7"):
        symbolic(lambda x: x * x * x, jnp.ones(4), limit=7)
    with pytest.raises(ValueError, match=r"conv_general_dilated takes 20,736"):
        symbolic(conv, jnp.ones((1, 12, 12, 4)), jnp.ones((3, 3, 4, 4)))
    found = symbolic(lambda x: jnp.sin(x.sum() * jnp.arange(1.0, 21.0)), jnp.ones(20), limit=60)
    with pytest.raises(
        ValueError, match=r"jacobian: 20 expressions by 20 symbols take .* than 600"
    ):
        found.jacobian()
    with pytest.raises(ValueError, match=r"symbolic: the expressions nest deeper"):
        symbolic(lambda x: lax.fori_loop(0, 2000, lambda i, c: jnp.sin(c) + 1, x), 1.0)


REFUSED = {
    "the primitive 'sort' has no symbolic form": jnp.sort,
    "the primitive 'argmax' has no symbolic form": lambda x: x * jnp.argmax(x),
    "the primitive 'fft' has no symbolic form": lambda x: jnp.abs(jnp.fft.fft(x)),
    "gather takes its places from values that depend on inputs|float64 that depends": lambda x: x[
        x[0].astype(int)
    ],
    "the number of turns of a while loop depends on inputs": lambda x: lax.while_loop(
        lambda c: c.sum() < 9, lambda c: c * 2, x
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message):
    with pytest.raises(ValueError, match=f"symbolic: ({message})"):
        symbolic(REFUSED[message], jnp.ones(3))


def test_errors(monkeypatch):
    with pytest.raises(ValueError, match="symbolic: z needs to be real, got complex128"):
        symbolic(lambda z: z, 1j)
    with pytest.raises(ValueError, match="symbolic: n holds integers, which keep their values"):
        symbolic(lambda n: n, jax.ShapeDtypeStruct((), jnp.int32))
    found = symbolic(lambda x, n: x**n, jnp.ones(2), 3)
    with pytest.raises(
        ValueError, match=r"gradient: the function returns one number, got .*\(2,\)"
    ):
        found.gradient()
    with pytest.raises(ValueError, match="jacobian: the arguments of argnums hold floating-point"):
        found.jacobian(1)
    with pytest.raises(ValueError, match=r"lambdify: the arguments are to be like .* got .*\(3,\)"):
        found.lambdify()(np.ones(3), 3)
    original = builtins.__import__

    def without(name, *args):
        if name == "sympy":
            raise ImportError(name)
        return original(name, *args)

    scalars.sympy.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'jaxcnn\[symbolic\]'"):
        symbolic(jnp.sin, 1.0)
