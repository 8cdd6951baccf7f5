"""Every architecture of the zoo: equal to PyTorch's, differentiable, trainable.

One architecture for each kind of block by default, all of them under `slow`; what is compared and
how stands in experiments/zoo_equality.py and zoo_training.py.
"""

import jax
import jax.numpy as jnp
import pytest
import zoo_equality
import zoo_recipe as recipe
import zoo_training

from helpers import TOLERANCES
from jaxcnn import models

# One for each kind of block: compared in evaluation mode.
QUICK = (
    "alexnet",
    "squeezenet1_1",
    "googlenet",
    "resnet20",
    "resnet50",
    "wrn_16_4",
    "densenet_bc_100_12",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "shufflenet_v2_x0_5",
    "efficientnet_lite0",
    "regnet_y_8gf",  # compiles in a third of the time of regnet_y_400mf
    "convnext_tiny",
)
TRAINED = ("resnet20", "squeezenet1_1", "shufflenet_v2_x0_5")  # and these in training mode
GIANTS = ("regnet_y_128gf",)  # 645 million parameters: half an hour and more memory than most have
KNOWN = sorted(path.stem for path in zoo_equality.GOLDEN.glob("*.npz"))
IMAGENET = [name for name in models.names() if models.entry(name).stages]


def each(*quick):
    """All architectures, those that are not quick under `slow`."""
    return pytest.mark.parametrize(
        "name",
        [
            name if name in quick else pytest.param(name, marks=pytest.mark.slow)
            for name in KNOWN
            if name not in GIANTS
        ],
    )


def test_every_architecture_has_golden_values():
    assert set(IMAGENET) == set(KNOWN)
    assert set(QUICK) | set(TRAINED) | set(GIANTS) <= set(KNOWN)


def assert_small(differences, kind):
    for what, difference in differences.items():
        assert difference <= TOLERANCES[kind], f"{what} differs by {difference}"


@pytest.mark.optimized  # as users compile
@each(*QUICK)
def test_equals_pytorch_in_evaluation(name, x64):
    found = zoo_equality.evaluated(name, zoo_equality.golden(name), jnp.float64)
    assert set(found) == {*models.entry(name).stages, "logits"}
    assert_small(found, "zoo float64")


@pytest.mark.optimized  # as users compile
@each(*TRAINED)
def test_equals_pytorch_in_training(name, x64):
    found = zoo_equality.trained(name, zoo_equality.golden(name), jnp.float64)
    assert found.pop("no gradient") == 0
    assert_small(found, "zoo float64")


@pytest.mark.optimized  # as users compile
@each("resnet20")
def test_equals_pytorch_in_float32(name):
    found = zoo_equality.evaluated(name, zoo_equality.golden(name), jnp.float32)
    assert_small(found, "zoo float32")


@each("resnet20")
def test_two_steps_lower_the_loss(name):
    found = zoo_training.trained(name)
    assert found["loss after"] < found["loss before"]


@each(*QUICK)
def test_any_size_classes_and_type(name):
    """Shapes alone: a smallest image, gray, three classes or none, in bfloat16."""
    entry = models.entry(name)
    size = entry.smallest
    for classes, shape in ((3, (2, size, size, 1)), (0, (2, size + 9, size + 1, 3))):
        model = models.create(name, num_classes=classes, dtype=jnp.bfloat16)
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        y, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
        assert y.dtype == jnp.bfloat16
        assert y.ndim == 2
        assert y.shape[1] == 3 if classes else y.shape[1] > 3


def test_the_recipe_is_the_same_everywhere():
    state = recipe.weights({"a.weight": (2, 3), "a.running_var": (2,)})
    assert state["a.weight"].tolist() == recipe.weights({"a.weight": (2, 3)})["a.weight"].tolist()
    assert state["a.running_var"].min() >= 0.5
