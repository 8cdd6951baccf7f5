import jax
import jax.numpy as jnp
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


def variables_of(name, **options):
    model = create(name, **SMALL.get(name, {}), **options)
    return model, jax.jit(model.init)(jax.random.key(0), images(name, 1))


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

    gradient = jax.jit(jax.grad(loss))(params)
    for leaf in leaves(gradient):
        assert jnp.isfinite(leaf).all()
        assert jnp.any(leaf != 0)
    direction = jax.tree.map(lambda p: array(*p.shape, seed=3), params)
    _, slope = jax.jit(lambda p, d: jax.jvp(loss, (p,), (d,)))(params, direction)
    inner = sum(jnp.vdot(g, d) for g, d in zip(leaves(gradient), leaves(direction), strict=True))
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
    variables = model.init(jax.random.key(0), x)
    logits, updated = model.apply(
        variables, x, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(1)}
    )
    assert logits.shape == (4, 10)
    mean = updated["batch_stats"]["norm1_1"]["mean"]
    assert not jnp.array_equal(mean, variables["batch_stats"]["norm1_1"]["mean"])
    evaluated = model.apply({**variables, **updated}, x)
    assert not jnp.array_equal(evaluated, model.apply(variables, x))  # the statistics are used
    assert not jnp.array_equal(evaluated, logits)


def test_float64_input_with_float32_parameters(x64):
    model, variables = variables_of("convnet", batch_norm=True)
    variables = jax.tree.map(lambda p: p.astype(jnp.float32), variables)
    assert model.apply(variables, images("convnet", 1)).dtype == jnp.float64


def test_tiny_is_nine_inputs_on_a_3x3_image():
    model, variables = variables_of("tiny")
    x = images("tiny")
    conv = variables["params"]["conv"]
    expected = x.reshape(2, 9) @ conv["kernel"].reshape(9, 3) + conv["bias"]
    assert_close(model.apply(variables, x), expected)


def test_lenet5_sees_only_the_maps_of_table_one():
    _, variables = variables_of("lenet5")
    params = variables["params"]
    assert params["c3"]["kernel"].shape == (5, 5, 60)
    from jaxcnn.models.lenet5 import SparseConv

    def output(x):
        return SparseConv().apply({"params": params["c3"]}, x)[0, 0, 0]

    seen = jnp.abs(jax.jacrev(output)(array(1, 5, 5, 6))).sum((1, 2, 3)) > 0
    assert seen.sum(1).tolist() == [3] * 6 + [4] * 9 + [6]
    assert seen.sum(0).tolist() == [10] * 6  # each map of S2 feeds ten of C3


def test_lenet5_pads_28_pixels_to_32():
    model, variables = variables_of("lenet5")
    x = array(2, 28, 28, 1)
    padded = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    assert_close(model.apply(variables, x), model.apply(variables, padded))


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
