"""A function of pytrees as one of flat vectors, and the name of each number in them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxcnn.autodiff.leaves import is_inexact, moving


class Elements(NamedTuple):
    """Where each number of a flat vector comes from."""

    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Start and end of each array that is not empty."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes]).tolist()
        return [(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True) if b > a]

    @property
    def eps(self) -> np.ndarray:
        """The precision of each number."""
        sizes = [math.prod(shape) for shape in self.shapes]
        return np.repeat([float(jnp.finfo(d).eps) for d in self.dtypes], sizes)

    def name(self, index: int) -> str:
        """Path and index, such as args[0]['kernel'][2, 1]."""
        for path, shape in zip(self.paths, self.shapes, strict=True):
            size = math.prod(shape)
            if index < size:
                place = ", ".join(map(str, np.unravel_index(index, shape)))
                return f"{path}[{place}]" if shape else path
            index -= size
        raise IndexError(f"no number {index} beyond the last")


class FlatFunction(NamedTuple):
    """y = call(x) for flat vectors; `point` is the x that the arguments make."""

    call: Callable[[Array], Array]
    point: np.ndarray
    inputs: Elements
    outputs: Elements


def flatten(
    caller: str, f: Callable[..., Any], args: Sequence[Any], dtype: Any = None
) -> FlatFunction:
    """f as a function of the numbers in its floating-point arguments; all others are held fixed.

    Args:
        caller: whose errors these are.
        f: function of pytrees.
        args: its arguments.
        dtype: what floating-point arguments are cast to; None keeps theirs.

    Raises:
        ValueError: complex arguments, or nothing of floating point that goes in or comes out.
    """
    function, arrays, paths = moving(caller, f, args, dtype)
    inputs = Elements(
        tuple(f"args{jax.tree_util.keystr(path)}" for path in paths),
        tuple(array.shape for array in arrays),
        tuple(array.dtype for array in arrays),
    )
    try:
        out = jax.eval_shape(function, *arrays)
    except (TypeError, ValueError) as error:
        if dtype is not None:
            error.add_note(
                f"{caller} casts f's arguments to {jnp.dtype(dtype)}, but not the arrays that f "
                "closes over: make them arguments, or keep all types with dtype=None."
            )
        raise
    outputs = _outputs(out)
    if not outputs.size:
        raise ValueError(f"{caller}: f must return floating-point numbers, got {_described(out)}.")
    wide_in, wide_out = _wide(inputs.dtypes), _wide(outputs.dtypes)
    ends = np.cumsum([a.size for a in arrays])[:-1]

    def call(x: Array) -> Array:
        parts = jnp.split(x, ends)
        values = [p.reshape(a.shape).astype(a.dtype) for p, a in zip(parts, arrays, strict=True)]
        found = [leaf for leaf in jax.tree.leaves(function(*values)) if is_inexact(leaf)]
        flat = [part for leaf in found for part in _parts(jnp.asarray(leaf))]
        return jnp.concatenate([part.ravel().astype(wide_out) for part in flat])

    point = np.concatenate([np.asarray(a.astype(wide_in)).ravel() for a in arrays])
    return FlatFunction(call, point, inputs, outputs)


def _parts(leaf: Array) -> list[Array]:
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        return [leaf.real, leaf.imag]
    return [leaf]


def _outputs(out: Any) -> Elements:
    paths, shapes, dtypes = [], [], []
    for path, leaf in jax.tree_util.tree_flatten_with_path(out)[0]:
        if not is_inexact(leaf):
            continue
        name = f"output{jax.tree_util.keystr(path)}"
        is_complex = jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        names = [f"{name}.real", f"{name}.imag"] if is_complex else [name]
        paths += names
        shapes += [leaf.shape] * len(names)
        dtypes += [jnp.finfo(leaf.dtype).dtype] * len(names)
    return Elements(tuple(paths), tuple(shapes), tuple(dtypes))


def _wide(dtypes: Sequence[Any]) -> Any:
    """float64 if any is, else float32: a vector that holds them all without loss."""
    return jnp.result_type(jnp.float32, *dtypes)


def _described(out: Any) -> str:
    return ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(out)) or "none"
