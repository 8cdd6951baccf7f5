"""What each model costs at its default size; costs.csv is made by tests/golden/make_costs.py."""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.functional.shapes import count_parameters, multiply_adds
from jaxcnn.models.table import create, entry


class Costs(NamedTuple):
    """The size of a model and of its work."""

    parameters: int
    multiply_adds: int  # for one image of the default size, in evaluation


def costs(name: str) -> Costs:
    """Parameters and multiply-adds of a model with its default options, from a table.

    Args:
        name: one of `models.names()`.

    Raises:
        ValueError: an unknown name, with the nearest known one.

    Example:
        >>> costs("lenet")
        Costs(parameters=61706, multiply_adds=416520)

    """
    entry(name)
    return _table()[name]


def measure(name: str) -> Costs:
    """The same, counted anew from the model's trace."""
    model = create(name)
    x = jax.ShapeDtypeStruct((1, *entry(name).input_shape), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    return Costs(count_parameters(variables["params"]), multiply_adds(model.apply, variables, x))


@cache
def _table() -> dict[str, Costs]:
    lines = Path(__file__).with_name("costs.csv").read_text("utf-8").splitlines()
    return {
        row["name"]: Costs(int(row["parameters"]), int(row["multiply_adds"]))
        for row in csv.DictReader(lines)
    }
