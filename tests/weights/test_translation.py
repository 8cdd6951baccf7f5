import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zoo_recipe as recipe

from helpers import assert_close
from jaxcnn import models
from jaxcnn.weights import from_torch, to_torch


@pytest.mark.parametrize("name", ["resnet18", "lenet"])
def test_there_and_back(name):
    state = recipe.state(name, num_classes=7)
    variables = from_torch(name, state)
    back = to_torch(name, variables)
    assert back.keys() == state.keys()
    for k, v in state.items():
        np.testing.assert_array_equal(back[k], v, err_msg=k)
        assert back[k].dtype == v.dtype
    again = from_torch(name, back)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    model = models.create(name, num_classes=7)
    x = jnp.zeros((2, *models.entry(name).input_shape))
    expected = jax.eval_shape(model.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, expected)


def test_layouts():
    rng = np.random.default_rng(0)
    conv, fc = rng.normal(size=(64, 3, 7, 7)), rng.normal(size=(10, 512))
    state = recipe.state("resnet18", num_classes=10) | {"conv1.weight": conv, "fc.weight": fc}
    variables = from_torch("resnet18", state)
    assert variables["params"]["conv1"]["kernel"].dtype == np.float64
    assert_close(variables["params"]["conv1"]["kernel"][2, 5, 1, 40], conv[40, 1, 2, 5], "exact")
    assert_close(variables["params"]["fc"]["kernel"][500, 3], fc[3, 500], "exact")
    stats = variables["batch_stats"]["layer1"]["0"]["bn2"]
    assert_close(stats["var"], state["layer1.0.bn2.running_var"], "exact")
    assert_close(stats["mean"], state["layer1.0.bn2.running_mean"], "exact")


def test_counters_are_optional():
    state = recipe.state("resnet18", num_classes=2)
    without = {k: v for k, v in state.items() if "num_batches" not in k}
    assert len(without) < len(state)
    jax.tree.map(
        np.testing.assert_array_equal,
        from_torch("resnet18", without),
        from_torch("resnet18", state),
    )


def test_a_wrapper_s_prefix_comes_off():
    state = recipe.state("lenet")
    wrapped = {f"module.{k}": v for k, v in state.items()}
    jax.tree.map(
        np.testing.assert_array_equal, from_torch("lenet", wrapped), from_torch("lenet", state)
    )


def test_another_number_of_classes_draws_the_head_anew():
    state = recipe.state("resnet18", num_classes=5)
    with pytest.warns(UserWarning, match=r"not of 3 classes: new fc.bias, fc.weight."):
        drawn = from_torch("resnet18", state, num_classes=3, key=jax.random.key(1))
    assert drawn["params"]["fc"]["kernel"].shape == (512, 3)
    assert drawn["params"]["fc"]["kernel"].std() > 0.01
    with pytest.warns(UserWarning, match="new fc"):
        other = from_torch("resnet18", state, num_classes=3, key=jax.random.key(2))
    assert not np.array_equal(other["params"]["fc"]["kernel"], drawn["params"]["fc"]["kernel"])
    kept = from_torch("resnet18", state)
    assert_close(drawn["params"]["conv1"]["kernel"], kept["params"]["conv1"]["kernel"], "exact")
    assert kept["params"]["fc"]["kernel"].shape == (512, 5)


def test_no_classes_leave_the_head_out():
    variables = from_torch("resnet18", recipe.state("resnet18", num_classes=5), num_classes=0)
    assert "fc" not in variables["params"]
    model = models.create("resnet18", num_classes=0)
    assert jax.jit(model.apply)(variables, jnp.zeros((1, 32, 32, 3))).shape == (1, 512)


def test_whatever_does_not_fit_is_listed():
    state = recipe.state("lenet")
    wrong = {k: v for k, v in state.items() if k != "conv1.bias"}
    wrong |= {"conv3.weight": np.zeros((1, 1)), "conv2.weight": np.zeros((16, 6, 3, 3))}
    with pytest.raises(ValueError) as caught:
        from_torch("lenet", wrong)
    message = str(caught.value)
    assert message.startswith("from_torch: the state does not fit lenet: missing: conv1.bias;")
    assert "unexpected: conv3.weight;" in message
    assert "of another shape: conv2.weight (16, 6, 3, 3) instead of (16, 6, 5, 5)." in message
    with pytest.raises(ValueError, match="missing: logits.weight, logits.bias|logits.bias, logits"):
        from_torch("lenet", {k: v for k, v in state.items() if "logits" not in k})
    with pytest.raises(ValueError, match=r"logits.weight \(10, 80\) instead of \(10, 84\)"):
        from_torch("lenet", state | {"logits.weight": np.zeros((10, 80), np.float32)})


def test_to_torch_lists_as_well():
    variables = from_torch("lenet", recipe.state("lenet"))
    params = {k: v for k, v in variables["params"].items() if k != "conv1"}
    with pytest.raises(ValueError, match="to_torch: .* missing: params/conv1/bias, params/conv1/k"):
        to_torch("lenet", {"params": params})
    more = {"params": {**variables["params"], "extra": {"bias": np.zeros(3)}}}
    with pytest.raises(ValueError, match="unexpected: params/extra/bias"):
        to_torch("lenet", more)
    narrow = {**variables["params"], "logits": {"kernel": np.zeros((80, 10)), "bias": np.zeros(10)}}
    with pytest.raises(ValueError, match=r"logits/kernel \(80, 10\) instead of \(84, 10\)"):
        to_torch("lenet", {"params": narrow})


def test_own_models_take_their_image_shape():
    state = recipe.state("lenet")
    state["conv1.weight"] = np.zeros((6, 3, 5, 5), np.float32)
    variables = from_torch("lenet", state, input_shape=(28, 28, 3))
    assert variables["params"]["conv1"]["kernel"].shape == (5, 5, 3, 6)
    assert to_torch("lenet", variables, input_shape=(28, 28, 3)).keys() == state.keys()


def test_auxiliary_heads_can_be_left_out():
    state = recipe.state("googlenet", num_classes=3)
    variables = from_torch("googlenet", state, aux_logits=False)
    assert "aux1" not in variables["params"]
    assert "fc" in variables["params"]
    with pytest.raises(ValueError, match="unexpected: aux3.fc"):
        from_torch("googlenet", state | {"aux3.fc": np.zeros(2)}, aux_logits=False)


def test_classes_must_not_be_negative():
    with pytest.raises(ValueError, match="from_torch: num_classes must be 0 or more, got -3"):
        from_torch("lenet", recipe.state("lenet"), num_classes=-3)
