"""A function of pytrees as one of the floating-point arrays in its arguments."""

import contextlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Moving(NamedTuple):
    """What derivatives are taken by."""

    function: Callable[..., Any]  # of the arrays, one argument each
    arrays: list[Array]
    paths: list[tuple[Any, ...]]  # in the tuple of the arguments


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf has derivatives: floating point, no integer, bool, key or string."""
    if hasattr(leaf, "dtype"):
        return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))
    return isinstance(leaf, float | complex)


def double(args: Sequence[Any]) -> contextlib.AbstractContextManager[Any]:
    """Double precision where it is no change: all floating-point arguments are float64 or Python's.

    Else the caller's, as what f draws at random depends on it.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tuple(args)) if is_inexact(leaf)]
    wide = all(getattr(leaf, "dtype", np.dtype(np.float64)) == np.float64 for leaf in leaves)
    return jax.enable_x64(True) if wide else contextlib.nullcontext()


def moving(caller: str, f: Callable[..., Any], args: Sequence[Any], dtype: Any = None) -> Moving:
    """f as a function of the floating-point arrays in its arguments; all else is held fixed.

    Args:
        caller: whose errors these are.
        f: function of pytrees.
        args: its arguments.
        dtype: what floating-point arguments are cast to; None keeps theirs.

    Raises:
        ValueError: complex arguments, or no floating-point number.
    """
    paired, treedef = jax.tree_util.tree_flatten_with_path(tuple(args))
    leaves = [leaf for _, leaf in paired]
    places = [i for i, leaf in enumerate(leaves) if is_inexact(leaf)]
    paths = [paired[i][0] for i in places]
    arrays = [jnp.asarray(leaves[i]) for i in places]
    for array, path in zip(arrays, paths, strict=True):
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise ValueError(
                f"{caller}: takes real arguments, got complex numbers in "
                f"args{jax.tree_util.keystr(path)}; pass real and imaginary parts."
            )
    if not sum(array.size for array in arrays):
        raise ValueError(f"{caller}: needs a floating-point argument, got none.")

    def function(*values: Any) -> Any:
        given = list(leaves)
        for i, value in zip(places, values, strict=True):
            given[i] = value
        return f(*jax.tree.unflatten(treedef, given))

    return Moving(function, [jnp.asarray(array, dtype) for array in arrays], paths)


def parameter_names(f: Callable[..., Any], n: int) -> list[str]:
    """What a function calls its first n positional parameters."""
    try:
        parameters: list[inspect.Parameter] = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # builtins and C functions may have none
        parameters = []
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}{i + 1}" for i in range(n - len(names))]
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            names.append(parameter.name)
    return (names + [f"x{i + 1}" for i in range(len(names), n)])[:n]
