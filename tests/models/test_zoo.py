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

QUICK = (
    "resnet18",
    "resnet20",
)
KNOWN = sorted(path.stem for path in zoo_equality.GOLDEN.glob("*.npz"))
GIANTS = ("regnet_y_128gf",)  # 645 million parameters
NAMES = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in KNOWN
    if name not in GIANTS
]
IMAGENET = [name for name in models.names() if models.entry(name).stages]


def test_every_architecture_has_golden_values():
    assert set(IMAGENET) == set(KNOWN)
    assert set(QUICK) <= set(KNOWN)


@pytest.mark.parametrize("name", NAMES)
def test_equals_pytorch(name, x64):
    values = zoo_equality.golden(name)
    found = {**zoo_equality.evaluated(name, values, jnp.float64)}
    found |= zoo_equality.trained(name, values, jnp.float64)
    assert set(found) > set(models.entry(name).stages)
    assert found.pop("no gradient") == 0
    for what, difference in found.items():
        assert difference <= TOLERANCES["zoo float64"], f"{what} differs by {difference}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KNOWN if name not in GIANTS])
def test_equals_pytorch_in_float32(name):
    for what, difference in zoo_equality.evaluated(
        name, zoo_equality.golden(name), jnp.float32
    ).items():
        assert difference <= TOLERANCES["zoo float32"], f"{what} differs by {difference}"


@pytest.mark.parametrize("name", NAMES)
def test_trains(name):
    found = zoo_training.trained(name)
    assert found["loss after"] < found["loss before"]


@pytest.mark.parametrize("name", IMAGENET)
def test_any_size_classes_and_type(name):
    """Shapes alone: a smallest image, gray, three classes or none, in bfloat16."""
    entry = models.entry(name)
    size = entry.smallest
    for classes, shape in ((3, (2, size, size, 1)), (0, (2, size + 9, size + 1, 3))):
        model = models.create(name, num_classes=classes, dtype=jnp.bfloat16)
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        variables = jax.eval_shape(model.init, jax.random.key(0), x)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
        y = jax.eval_shape(model.apply, variables, x)
        assert y.dtype == jnp.bfloat16
        assert y.ndim == 2
        assert y.shape[1] == 3 if classes else y.shape[1] > 3


def test_the_recipe_is_the_same_everywhere():
    state = recipe.weights({"a.weight": (2, 3), "a.running_var": (2,)})
    assert state["a.weight"].tolist() == recipe.weights({"a.weight": (2, 3)})["a.weight"].tolist()
    assert state["a.running_var"].min() >= 0.5
