"""Functions by name and their inputs from words, as a command line gives them."""

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

SHAPE = re.compile(r"\d+(x\d+)*x?")  # 2x8x8x3; 8x for one axis, as 8 is a number


def load_function(name: str) -> Callable[..., Any]:
    """The function of that name; modules are looked for in the current directory too.

    Args:
        name: MODULE:FUNCTION, such as "jax.numpy:sin" or "losses:Hinge.value".

    Raises:
        ValueError: a name of another form, a module or function that is not there, or what is
            no function.

    Example:
        >>> load_function("math:sqrt")(9)
        3.0

    """
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise ValueError(f"load_function: a name is MODULE:FUNCTION, got {name!r}.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # an import inside the module fails
        raise ValueError(
            f"load_function: there is no module {error.name!r}, for {name!r}."
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ValueError(f"load_function: {module_name} has no {path!r}, for {name!r}.")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"load_function: {name!r} is no function but {type(found).__name__}.")
    return found


def parse_input(word: str, rng: np.random.Generator) -> Array:
    """An array from a word: normal random numbers of a shape, or the numbers themselves.

    Args:
        word: a shape such as "2x8x8x3" or "8x"; or JSON such as "2.5", "[1, 0]" (integers are
            held fixed by gradient checks) or "[[0.1, 0.5]]".
        rng: draws the random numbers.

    Raises:
        ValueError: a word of neither form, or rows of unlike length.

    Example:
        >>> parse_input("[[0.5, 1]]", np.random.default_rng(0))
        Array([[0.5, 1. ]], dtype=float32)
        >>> parse_input("2x3", np.random.default_rng(0)).shape
        (2, 3)

    """
    if "x" in word and SHAPE.fullmatch(word):
        return jnp.asarray(rng.normal(size=[int(n) for n in word.split("x") if n]))
    try:
        values = np.asarray(json.loads(word))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"parse_input: an input is a shape such as 2x8x3, or numbers such as 2.5 or "
            f"[[0.1, 0.5]], got {word!r}."
        ) from error
    if values.dtype.kind not in "ifb":
        raise ValueError(f"parse_input: an input has numbers only, got {word!r}.")
    return jnp.asarray(values)


def required_inputs(f: Callable[..., Any], name: str) -> int:
    """How many positional arguments a function cannot do without.

    Args:
        f: the function.
        name: what errors call it.

    Raises:
        ValueError: a function whose parameters cannot be read, that has none, or that needs
            keywords as well.

    Example:
        >>> required_inputs(lambda x, y, power=2: x, "f")
        2

    """
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not tell its parameters; give the inputs.") from error
    required = [p for p in parameters if p.default is p.empty]
    keywords = [p.name for p in required if p.kind is p.KEYWORD_ONLY]
    if keywords:
        raise ValueError(
            f"{name} needs {', '.join(keywords)} by keyword; name a function of its inputs alone."
        )
    count = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in required)
    if not count:
        raise ValueError(f"{name} has no required parameter; give the inputs.")
    return count
