import inspect

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.interpret.rectifiers.counts import Rectifiers, count_rectifiers
from jaxcnn.interpret.rectifiers.spellings import OTHERS, RECTIFIERS, patterns

NUMBERS = {"a": 0.25, "known": 0.25, "number": 0.5, "cap": 1.0}
ROWS = [(kind, code) for kind, codes in RECTIFIERS.items() for code in codes]


def count(code):
    """Of a spelling with numbers for what stands for numbers, and x for all else."""
    names = inspect.signature(code).parameters
    return count_rectifiers(
        lambda x: code(*(NUMBERS.get(name, x + i) for i, name in enumerate(names))),
        jax.ShapeDtypeStruct((2, 3), jnp.float32),
    )


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_each_row_is_found_as_one_of_its_kind(row):
    kind, code = ROWS[row]
    assert count(code)._asdict() == {k: int(k == kind) for k in Rectifiers._fields}


@pytest.mark.parametrize("row", range(len(OTHERS)))
def test_each_other_row_is_none(row):
    assert count(OTHERS[row]).total == 0


def test_larger_patterns_come_first():
    sizes = [pattern.size for pattern in patterns()]
    assert len(sizes) == len(ROWS) + len(OTHERS)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
