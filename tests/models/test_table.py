import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree import leaves

from helpers import array, assert_close
from jaxcnn.functional.shapes import count_parameters
from jaxcnn.losses import cross_entropy
from jaxcnn.models import create, entry, names

# Counted by hand from the layers; LeNet-5's 60,000 are table I's and section II.B's, plus 850.
PARAMETERS = {
    "perceptron": 1 + 1,
    "mlp": 1_347_010,
    "tiny": 9 * 3 + 3,
    "lenet5": 156 + 12 + 1_516 + 32 + 48_120 + 10_164 + 850,
    "lenet": 61_706,
    "convnet": 896 + 9_248 + 18_496 + 36_928 + 73_856 + 147_584 + 262_272 + 1_290,
}


OWN = [name for name in names() if not entry(name).stages]  # of the zoo's is test_zoo.py


def images(name, batch=2):
    return array(batch, *entry(name).input_shape)


SMALL = {  # the same nets, narrow enough to compile quickly
    "mlp": {"widths": (8, 8)},
    "convnet": {"widths": (4, 4, 4), "hidden": 8},
}


def small(name, **options):
    return create(name, **SMALL.get(name, {}), **options)


@functools.cache  # drawing them takes long to compile
def variables_of(name, **options):
    model = small(name, **options)
    variables = jax.jit(model.init)(jax.random.key(0), images(name, 1))
    return model, jax.tree.map(np.asarray, variables)


def drawn_by_numpy(model, x):
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map(lambda v: np.float32(array(*v.shape)), shapes)


def test_parameters():
    assert set(PARAMETERS) == set(OWN)
    for name, expected in PARAMETERS.items():
        model = create(name)
        x = images(name, 1)
        shapes = jax.eval_shape(model.init, jax.random.key(0), x)
        assert count_parameters(shapes["params"]) == expected, name


@pytest.mark.parametrize("name", OWN)
def test_both_modes_agree_and_every_parameter_learns(name):
    model, variables = variables_of(name, num_classes=3)
    x, labels = images(name), jnp.array([0, 2])
    params = variables["params"]

    def loss(params):
        return cross_entropy(model.apply({**variables, "params": params}, x), labels).mean()

    @jax.jit
    def both_modes(params, direction):
        return jax.grad(loss)(params), jax.jvp(loss, (params,), (direction,))[1]

    direction = jax.tree.map(lambda p: array(*p.shape, seed=3), params)
    gradient, slope = both_modes(params, direction)
    for leaf in map(np.asarray, leaves(gradient)):
        assert np.isfinite(leaf).all()
        assert leaf.any()
    inner = sum(np.vdot(g, d) for g, d in zip(leaves(gradient), leaves(direction), strict=True))
    assert_close(slope, inner, "float32 sums")


@pytest.mark.parametrize("name", OWN)
def test_batch_and_bfloat16(name):
    model, variables = variables_of(name, num_classes=3)
    x = images(name, 3)
    apply = jax.jit(model.apply)
    logits = apply(variables, x)
    assert logits.shape == (3, 3)
    for i in range(3):
        assert_close(apply(variables, x[i : i + 1])[0], logits[i])
    low = jax.jit(model.clone(dtype=jnp.bfloat16).apply)(variables, x)
    assert low.dtype == jnp.bfloat16
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))
    assert_close(low, logits, "bfloat16 models")


def test_convnet_trains_with_batch_norm_and_dropout():
    model = create("convnet", widths=(4, 4, 4), hidden=8, batch_norm=True, drop_rate=0.5)
    x = array(4, 8, 8, 1)
    variables = drawn_by_numpy(model, x)
    variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])

    @jax.jit
    def train(variables, x, key):
        rngs = {"dropout": key}
        return model.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)

    logits, updated = train(variables, x, jax.random.key(1))
    assert logits.shape == (4, 10)
    mean = updated["batch_stats"]["norm1_1"]["mean"]
    assert not np.array_equal(mean, variables["batch_stats"]["norm1_1"]["mean"])
    evaluate = jax.jit(model.apply)
    evaluated = evaluate({**variables, **updated}, x)
    assert not np.array_equal(evaluated, evaluate(variables, x))  # the statistics are used
    assert np.abs(evaluated - logits).max() > 1e-3


def test_float64_input_with_float32_parameters(x64):
    model, x = small("convnet", batch_norm=True), images("convnet", 1)
    variables = drawn_by_numpy(model, x)
    assert x.dtype == jnp.float64
    assert jax.eval_shape(model.apply, variables, x).dtype == jnp.float64


def test_tiny_is_nine_inputs_on_a_3x3_image():
    model, variables = variables_of("tiny")
    x = images("tiny")
    conv = variables["params"]["conv"]
    expected = x.reshape(2, 9) @ conv["kernel"].reshape(9, 3) + conv["bias"]
    assert_close(model.apply(variables, x), expected)


def test_lenet5_sees_only_the_maps_of_table_one():
    params = drawn_by_numpy(small("lenet5"), images("lenet5", 1))["params"]
    assert params["c3"]["kernel"].shape == (5, 5, 60)
    from jaxcnn.models.lenet5 import SparseConv

    def output(x):
        return SparseConv().apply({"params": params["c3"]}, x)[0, 0, 0]

    seen = np.abs(jax.jit(jax.jacrev(output))(array(1, 5, 5, 6))).sum((1, 2, 3)) > 0
    assert seen.sum(1).tolist() == [3] * 6 + [4] * 9 + [6]
    assert seen.sum(0).tolist() == [10] * 6  # each map of S2 feeds ten of C3


def test_lenet5_pads_28_pixels_to_32():
    model, x = small("lenet5"), array(2, 28, 28, 1)
    variables = drawn_by_numpy(model, x)
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    apply = jax.jit(model.apply)
    assert_close(apply(variables, x), apply(variables, padded))


def test_errors():
    with pytest.raises(ValueError, match="models: no model named 'lenett'; did you mean 'lenet'"):
        create("lenett")
    with pytest.raises(ValueError, match="lenet has no option 'num_clases'; did you mean 'num_cl"):
        create("lenet", num_clases=3)
    with pytest.raises(ValueError, match="convnet's option batch_norm must be bool .* got 'False'"):
        create("convnet", batch_norm="False")
    with pytest.raises(ValueError, match="convnet's option hidden must be int .* got True"):
        create("convnet", hidden=True)
    with pytest.raises(ValueError, match="convnet's option widths must be tuple .* got 8"):
        create("convnet", widths=8)
    assert create("convnet", drop_rate=0).drop_rate == 0
