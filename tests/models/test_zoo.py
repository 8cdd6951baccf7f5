"""Every architecture of the zoo: equal to PyTorch's, differentiable, trainable.

By default one architecture for each kind of block in evaluation, and some of them in training and
in float32; under `slow`, all architectures in evaluation and all kinds in the rest. How it is done
stands in experiments/zoo_equality.py and zoo_training.py, which do all of it for all of them.
"""

import jax
import jax.numpy as jnp
import pytest
import zoo_equality
import zoo_recipe as recipe
import zoo_training

from helpers import TOLERANCES
from jaxcnn import models

KINDS = (  # one architecture for each kind of block
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
TRAINED = ("resnet20", "squeezenet1_1", "shufflenet_v2_x0_5")  # in training, by default
GIANTS = ("regnet_y_128gf",)  # 645 million parameters: half an hour and more memory than most have
KNOWN = sorted(path.stem for path in zoo_equality.GOLDEN.glob("*.npz"))
ALL = [name for name in KNOWN if name not in GIANTS]
IMAGENET = [name for name in models.names() if models.entry(name).stages]


def each(names, default, *marks):
    """These architectures: the default ones with the marks, the others under `slow`."""
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=marks if name in default else pytest.mark.slow)
            for name in names
        ],
    )


def test_every_architecture_has_golden_values():
    assert set(IMAGENET) == set(KNOWN)
    assert set(KINDS) | set(TRAINED) | set(GIANTS) <= set(KNOWN)


def assert_small(differences, kind):
    for what, difference in differences.items():
        assert difference <= TOLERANCES[kind], f"{what} differs by {difference}"


@each(ALL, KINDS, pytest.mark.optimized)
def test_equals_pytorch_in_evaluation(name, x64):
    found = zoo_equality.evaluated(name, zoo_equality.golden(name), jnp.float64)
    assert set(found) == {*models.entry(name).stages, "logits"}
    assert_small(found, "zoo float64")


@each(KINDS, TRAINED, pytest.mark.optimized)
def test_equals_pytorch_in_training(name, x64):
    found = zoo_equality.trained(name, zoo_equality.golden(name), jnp.float64)
    assert found.pop("no gradient") == 0
    assert_small(found, "zoo float64")


@pytest.mark.optimized
@each(KINDS, ["resnet20"])
def test_equals_pytorch_in_float32(name):
    found = zoo_equality.evaluated(name, zoo_equality.golden(name), jnp.float32)
    assert_small(found, "zoo float32")


@each(KINDS, ["resnet20"])
def test_two_steps_lower_the_loss(name):
    found = zoo_training.trained(name)
    assert found["loss after"] < found["loss before"]


@each(ALL, KINDS)
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
