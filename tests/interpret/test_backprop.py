import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.tree_util import Partial

from helpers import array, assert_close, golden
from jaxcnn.functional.convolution import conv
from jaxcnn.functional.pooling import max_pool
from jaxcnn.interpret.backprop import deconvnet, guided_backprop
from jaxcnn.models import activations, create

METHODS = {"guided_backprop": guided_backprop, "deconvnet": deconvnet}
both = pytest.mark.parametrize("method", METHODS)

# Whole numbers, so that sums are exact in any precision.
W1 = jnp.array([[1.0, -2, 3, 1], [2, 1, -1, -3], [-1, 2, 2, 1]])
W2 = jnp.array([[1.0, -1, 2], [-2, 3, 1], [1, 1, -1], [2, -1, -2]])
W3 = jnp.array([3.0, -2, 1])
IMAGES = jnp.array([[2.0, -1, 1], [-1, 3, 2], [0, 0, 0], [1, 1, 1]]).reshape(4, 1, 1, 3)


def net(x, w1=W1, w2=W2, w3=W3, relu=jax.nn.relu):
    """Two hidden layers."""
    return relu(relu(x.reshape(-1, 3) @ w1) @ w2) @ w3


def by_hand(x, relu_backward):
    """The formulas of the papers for `net`; `relu_backward` takes the signal and the input."""
    x = np.asarray(x).reshape(-1, 3)
    w1, w2, w3 = map(np.asarray, (W1, W2, W3))
    a = x @ w1
    b = np.maximum(a, 0) @ w2
    signal = relu_backward(np.broadcast_to(w3, b.shape), b) @ w2.T
    return (relu_backward(signal, a) @ w1.T).reshape(-1, 1, 1, 3)


BACKWARD = {
    "guided_backprop": lambda signal, x: np.maximum(signal, 0) * (x > 0),
    "deconvnet": lambda signal, x: np.maximum(signal, 0),
}


@both
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_hand_formulas_of_two_hidden_layers(method, precision):
    with jax.enable_x64(precision == "float64"):
        found = METHODS[method](net, jnp.asarray(IMAGES, precision))
        assert found.dtype == precision
        expected = by_hand(IMAGES, BACKWARD[method])
        assert np.count_nonzero(expected) > 5
        assert_close(found, expected, "exact")


def captums(values):
    """The net of make_rectified.py, its ReLUs written in four ways."""
    p = {name: jnp.asarray(value) for name, value in values.items()}

    def convolved(x, name):
        return conv(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=1)

    def features(x):
        x = max_pool(jax.nn.relu(convolved(x, "conv1")), 3, stride=2, padding=1)
        hidden = convolved(x, "conv2")
        return x, convolved(jnp.where(hidden > 0, hidden, 0), "conv3")

    def logits(x):
        x = max_pool(jnp.clip(sum(features(x)), 0), 2).reshape(x.shape[0], -1)
        return jnp.maximum(0, x @ p["fc1.weight"] + p["fc1.bias"]) @ p["fc2.weight"] + p["fc2.bias"]

    return features, logits


@both
@pytest.mark.parametrize(
    ("precision", "kind"), [("float32", "float32 sums"), ("float64", "golden")]
)
def test_captums_values(method, precision, kind):
    """The score of a class and a neuron below it, as the two halves of a batch."""
    with jax.enable_x64(precision == "float64"):
        values = {name: value.astype(precision) for name, value in golden("rectified").items()}
        features, logits = captums(values)
        x = jnp.asarray(values["x"])
        found = METHODS[method](
            lambda x: jnp.concatenate([logits(x[:2])[:, 2], features(x[2:])[1][:, 1, 2, 3]]),
            jnp.concatenate([x, x]),
        )
        assert_close(found[:2], values[f"{method}.class"], kind)
        assert_close(found[2:], values[f"{method}.neuron"], kind)


def test_captums_net():
    values = golden("rectified")
    found = jax.jit(captums(values)[1])(jnp.asarray(values["x"]))
    assert_close(found, values["logits"], "float32 sums")


ZERO = np.float32(0)
RELU = {
    "jax.nn.relu": jax.nn.relu,
    "flax relu": nn.relu,
    "maximum(x, 0)": lambda x: jnp.maximum(x, 0),
    "maximum(0, x)": lambda x: jnp.maximum(0.0, x),
    "maximum(x, zeros_like)": lambda x: jnp.maximum(x, jnp.zeros_like(x)),
    "maximum(zeros, x)": lambda x: jnp.maximum(jnp.zeros(x.shape[-1]), x),
    "maximum(x, constant)": lambda x: jnp.maximum(x, ZERO),
    "lax.max": lambda x: lax.max(x, 0.0),
    "lax.max full": lambda x: lax.max(lax.full_like(x, 0), x),
    "clip": lambda x: jnp.clip(x, 0),
    "clip min": lambda x: x.clip(min=0.0),
    "clip to infinity": lambda x: jnp.clip(x, 0, jnp.inf),
    "clamp": lambda x: lax.clamp(0.0, x, jnp.inf),
    "where >": lambda x: jnp.where(x > 0, x, 0),
    "where >=": lambda x: jnp.where(x >= 0, x, 0.0),
    "where <": lambda x: jnp.where(x < 0, 0, x),
    "where <=": lambda x: jnp.where(x <= 0, jnp.zeros_like(x), x),
    "where 0 <": lambda x: jnp.where(0 < x, x, jnp.zeros_like(x)),  # noqa: SIM300
    "where 0 >=": lambda x: jnp.where(0 >= x, 0, x),  # noqa: SIM300
    "where of zeros": lambda x: jnp.where(x > jnp.zeros_like(x), x, jnp.zeros_like(x)),
    "lax.select": lambda x: lax.select(x > 0, x, jnp.zeros_like(x)),
    "x * (x > 0)": lambda x: x * (x > 0),
    "(x >= 0) * x": lambda x: (x >= 0) * x,
    "x * (x > 0) cast": lambda x: (x > 0).astype(x.dtype) * x,
    "(x + |x|) / 2": lambda x: (x + jnp.abs(x)) / 2,
    "0.5 (|x| + x)": lambda x: 0.5 * (jnp.abs(x) + x),
}
RELU6 = {
    "jax.nn.relu6": jax.nn.relu6,
    "minimum(maximum)": lambda x: jnp.minimum(jnp.maximum(x, 0), 6),
    "minimum(relu)": lambda x: jnp.minimum(6.0, jax.nn.relu(x)),
    "maximum(minimum)": lambda x: jnp.maximum(0, jnp.minimum(x, 6)),
    "clip 6": lambda x: jnp.clip(x, 0, 6),
    "clamp 6": lambda x: lax.clamp(0.0, x, 6.0),
    "where, then minimum": lambda x: jnp.minimum(jnp.where(x > 0, x, 0), 6),
}
LEAKY = {
    "jax.nn.leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.25),
    "leaky >": lambda x: jnp.where(x > 0, x, 0.25 * x),
    "leaky >=": lambda x: jnp.where(x >= 0, x, x * 0.25),
    "leaky <": lambda x: jnp.where(x < 0, 0.25 * x, x),
    "leaky <=": lambda x: jnp.where(x <= 0, 0.25 * x, x),
    "maximum(x, a x)": lambda x: jnp.maximum(x, 0.25 * x),
    "maximum(a x, x)": lambda x: jnp.maximum(x * 0.25, x),
    "two parts": lambda x: jnp.maximum(x, 0) + 0.25 * jnp.minimum(x, 0),
    "PReLU": lambda x: nn.PReLU().apply({"params": {"negative_slope": 0.25}}, x),
    "a slope for each channel": lambda x: jnp.where(x > 0, x, jnp.full(x.shape[-1], 0.25) * x),
}
SPELLINGS = {**RELU, **RELU6, **LEAKY}
POINTS = jnp.array([-2.0, -0.5, 0, 0.5, 6, 7, -2, -0.5, 0, 0.5, 6, 7]).reshape(1, 2, 2, 3)
SIGNAL = jnp.array([3.0] * 6 + [-3.0] * 6).reshape(1, 2, 2, 3)
GATES = {  # of -2, -0.5, 0, 0.5, 6, 7
    ("guided_backprop", "relu"): [0, 0, 0, 1, 1, 1],
    ("guided_backprop", "relu6"): [0, 0, 0, 1, 0, 0],
    ("guided_backprop", "leaky"): [0.25, 0.25, 1, 1, 1, 1],
    ("deconvnet", "relu"): [1, 1, 1, 1, 1, 1],
    ("deconvnet", "relu6"): [1, 1, 1, 1, 0, 0],
    ("deconvnet", "leaky"): [0.25, 0.25, 1, 1, 1, 1],
}


@both
def test_every_spelling_by_the_hand_rule(method):
    """Each image of the batch goes through one spelling, so that one program has them all."""

    def f(x):
        ys = [relu(image) for relu, image in zip(SPELLINGS.values(), x, strict=True)]
        return (jnp.stack(ys) * SIGNAL).sum((1, 2, 3))

    found = METHODS[method](f, jnp.broadcast_to(POINTS, (len(SPELLINGS), *POINTS.shape[1:])))
    for name, one in zip(SPELLINGS, found, strict=True):
        kind = "relu" if name in RELU else "relu6" if name in RELU6 else "leaky"
        expected = jnp.array([3.0 * gate for gate in GATES[method, kind]] + [0.0] * 6)
        assert_close(one.ravel(), expected, "exact", where=name)


def scanned(relu, w):
    return lambda x: lax.scan(lambda h, w: (relu(h @ w), None), x, jnp.stack([w, w.T]))[0]


def scanned_with_constants(relu, w):
    def f(x):
        zero = jnp.zeros(())  # a constant of the body
        turn = lambda h, w: (jnp.maximum(h @ w, zero), None)  # noqa: E731
        return lax.scan(turn, x, jnp.stack([w, w.T]))[0]

    return f


def custom_jvp(relu, w):
    f = jax.custom_jvp(lambda x: relu(relu(x @ w) @ w.T))
    f.defjvp(lambda x, t: (f(*x), 0 * t[0]))  # gives way
    return f


def custom_vjp(relu, w):
    f = jax.custom_vjp(lambda x: relu(relu(x @ w) @ w.T))
    f.defvjp(lambda x: (f(x), None), lambda _, t: (0 * t,))
    return f


def wrapped(transform):
    return lambda relu, w: transform(lambda x: relu(relu(x @ w) @ w.T))


def branched(relu, w):
    def f(x):
        half = lax.cond(x.sum() > -1e6, lambda x: relu(x @ w), lambda x: 0 * x, x)
        return lax.switch((x.sum() > -1e6) + 1, [jnp.sin, jnp.cos, lambda h: relu(h @ w.T)], half)

    return f


def looped(relu, w):
    both = jnp.stack([w, w.T])
    return lambda x: lax.fori_loop(0, 2, lambda i, h: relu(h @ both[i]), x)


STRUCTURES = {
    "jit": wrapped(jax.jit),
    "remat": wrapped(jax.checkpoint),
    "vmap": wrapped(jax.vmap),
    "everything saveable": wrapped(
        lambda f: jax.checkpoint(f, policy=jax.checkpoint_policies.everything_saveable)
    ),
    "jit in remat in jit": wrapped(lambda f: jax.jit(jax.checkpoint(jax.jit(f)))),
    "scan": scanned,
    "scan with constants": scanned_with_constants,
    "scan in remat in scan": lambda relu, w: (
        lambda x: lax.scan(
            lambda h, _: (jax.checkpoint(scanned(relu, w))(h), None), x, None, length=1
        )[0]
    ),
    "cond and switch": branched,
    "platforms": wrapped(lambda f: lambda x: lax.platform_dependent(x, cpu=f, default=f)),
    "fori_loop": looped,
    "custom_jvp": custom_jvp,
    "custom_vjp": custom_vjp,
    "custom_jvp in scan": lambda relu, w: (
        lambda x: lax.scan(lambda h, _: (custom_jvp(relu, w)(h), None), x, None, length=1)[0]
    ),
}


@both
def test_inside_every_structure(method):
    """relu(relu(x W) W') by hand; each structure has its share of the batch."""
    w = np.asarray([[1.0, -2, 3], [2, 1, -1], [-1, 2, 2]], np.float32)
    functions = [structure(jax.nn.relu, jnp.asarray(w)) for structure in STRUCTURES.values()]

    def f(x):
        shares = jnp.split(x.reshape(-1, 3), len(functions))
        return jnp.concatenate([g(share) @ W3 for g, share in zip(functions, shares, strict=True)])

    found = METHODS[method](f, jnp.concatenate([IMAGES] * len(functions)))
    a = np.asarray(IMAGES).reshape(-1, 3) @ w
    b = np.maximum(a, 0) @ w.T
    backward = BACKWARD[method]
    signal = backward(np.broadcast_to(W3, b.shape), b) @ w
    expected = (backward(signal, a) @ w.T).reshape(IMAGES.shape)
    assert np.count_nonzero(expected) > 5
    for name, share in zip(STRUCTURES, np.split(found, len(functions)), strict=True):
        assert_close(share, expected, "exact", where=name)


def test_custom_rules_without_rectifiers_are_kept():
    @jax.custom_vjp
    def doubled(x):
        return x

    doubled.defvjp(lambda x: (x, None), lambda _, t: (2 * t,))
    found = guided_backprop(lambda x: jax.nn.relu(doubled(x)).sum((1, 2, 3)), IMAGES)
    assert_close(found, 2.0 * (IMAGES > 0), "exact")


@both
def test_what_is_no_rectifier_has_its_own_derivative(method):
    norm = nn.LayerNorm()
    x = array(2, 2, 2, 3)
    variables = {"params": {"scale": jnp.arange(3.0), "bias": jnp.ones(3)}}

    def smooth(x):
        y = norm.apply(variables, x) + jax.nn.softplus(x) + jax.nn.hard_swish(x) + jax.nn.celu(x)
        return (-y * jnp.clip(x, 0, 1) - jnp.abs(x)).sum((1, 2, 3))

    found = METHODS[method](lambda x: smooth(x) + jax.nn.relu(0 * x[:, 0, 0, 0]), x)
    assert_close(found, jax.jit(jax.grad(lambda x: smooth(x).sum()))(x))


@both
def test_values_between_are_the_functions_own(method):
    """In relu6(x) x the factor x gets the value of relu6, and relu6 the signal x."""
    x = jnp.array([8.0, 2.0, -1.0]).reshape(1, 1, 1, 3)
    found = METHODS[method](lambda x: (jax.nn.relu6(x) * x).sum((1, 2, 3)), x)
    assert_close(found.ravel(), jnp.array([6.0, 2.0 + 2.0, 0.0]), "exact")


@both
def test_overlapping_switches_of_max_pooling(method):
    """A maximum seen by two windows gets the signal of both."""
    x = jnp.array([1.0, 5.0, 2.0, -1.0, -3.0]).reshape(1, 5, 1, 1)

    def f(x):
        return max_pool(jax.nn.relu(x), (3, 1), stride=1)[:, :, 0, 0] @ jnp.array([2.0, 3, -4])

    expected = {"guided_backprop": [0, 5, 0, 0, 0], "deconvnet": [0, 5, 0, 0, 0]}[method]
    assert_close(METHODS[method](f, x).ravel(), jnp.array(expected), "exact")


@both
def test_batches_parameters_and_compilations(method):
    x = array(3, 4, 4, 1)
    weights = {"kernel": array(3, 3, 1, 2, seed=1), "dense": array(8, 2, seed=2)}
    before = jax.tree.map(lambda a: np.array(a), weights)
    traces = []

    def target(weights, x):
        traces.append(x.shape)
        y = max_pool(jnp.clip(conv(x, weights["kernel"]), 0), 2)
        return (y.reshape(-1, 8) @ weights["dense"])[:, 0]

    f = Partial(target, weights)
    found = METHODS[method](f, x)
    again = METHODS[method](Partial(target, weights), x)
    other = METHODS[method](Partial(target, jax.tree.map(lambda a: -a, weights)), x)
    assert len(traces) == 1  # a Partial's arrays are arguments of one program
    assert_close(again, found, "exact")
    assert np.abs(other - found).max() > 0
    jax.tree.map(np.testing.assert_array_equal, weights, before)
    for i in range(3):
        assert_close(METHODS[method](f, x[i : i + 1])[0], found[i])
    assert len(traces) == 2

    def plain(x):
        return target(weights, x)

    assert_close(METHODS[method](plain, x), found)
    METHODS[method](plain, x + 1)
    assert len(traces) == 3  # by the same function
    inside = jax.jit(jax.vmap(lambda x: METHODS[method](f, x[None])[0]))(x)
    assert_close(inside, found)


@both
def test_neurons_and_channels_of_a_model(method):
    model, x = create("lenet"), array(1, 16, 16, 1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    variables = jax.tree.map(lambda a: 0.1 * array(*a.shape), shapes)

    def layer(x, name):
        return activations(model, variables, x)[name]

    neuron = METHODS[method](lambda x: layer(x, "conv2")[:, 0, 0, 4], x)
    channel = METHODS[method](lambda x: layer(x, "conv2")[..., 4].sum((1, 2)), x)
    assert neuron[0, :12].any()
    assert not neuron[0, 12:].any()  # below what that neuron sees
    assert channel[0, 12:].any()
    # What comes after the layer does not count: conv1's neurons have no ReLU below them.
    with pytest.raises(ValueError, match="needs a ReLU between x and f"):
        METHODS[method](lambda x: layer(x, "conv1")[:, 0, 0, 0], x)


def test_bfloat16():
    weights = [w.astype(jnp.bfloat16) for w in (W1, W2, W3)]
    found = guided_backprop(lambda x: net(x, *weights), IMAGES.astype(jnp.bfloat16))
    assert found.dtype == jnp.bfloat16
    assert_close(found, by_hand(IMAGES, BACKWARD["guided_backprop"]), "bfloat16")


@both
def test_errors(method, unchecked):
    with pytest.raises(ValueError, match=f"{method}: f needs a ReLU .* got none. Known are jax.nn"):
        METHODS[method](lambda x: jnp.tanh(x).sum((1, 2, 3)), IMAGES)
    with pytest.raises(ValueError, match=rf"{method}: f\(x\) needs one number for each image"):
        METHODS[method](jax.nn.relu, IMAGES)
    with pytest.raises(ValueError, match=f"{method}: x needs floating-point images b h w c"):
        METHODS[method](net, IMAGES[0])
