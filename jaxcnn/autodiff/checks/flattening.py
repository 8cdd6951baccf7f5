"""A function of pytrees as one of flat vectors, and the name of each number in them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


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


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf has derivatives: floating point, no integer, bool, key or string."""
    if hasattr(leaf, "dtype"):
        return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))
    return isinstance(leaf, float | complex)


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
    paired, treedef = jax.tree_util.tree_flatten_with_path(tuple(args))
    leaves = [leaf for _, leaf in paired]
    moving = [i for i, leaf in enumerate(leaves) if is_inexact(leaf)]
    for i in moving:
        if jnp.issubdtype(jnp.asarray(leaves[i]).dtype, jnp.complexfloating):
            raise ValueError(
                f"{caller}: takes real arguments, got complex numbers in "
                f"args{jax.tree_util.keystr(paired[i][0])}; pass real and imaginary parts."
            )
        leaves[i] = jnp.asarray(leaves[i], dtype)
    inputs = Elements(
        tuple(f"args{jax.tree_util.keystr(paired[i][0])}" for i in moving),
        tuple(leaves[i].shape for i in moving),
        tuple(leaves[i].dtype for i in moving),
    )
    if not inputs.size:
        raise ValueError(f"{caller}: needs a floating-point argument, got none.")

    def on_leaves(values: Sequence[Array]) -> Any:
        given = list(leaves)
        for i, value in zip(moving, values, strict=True):
            given[i] = value
        return f(*jax.tree.unflatten(treedef, given))

    arrays = [leaves[i] for i in moving]
    out = jax.eval_shape(on_leaves, arrays)
    outputs = _outputs(out)
    if not outputs.size:
        raise ValueError(f"{caller}: f must return floating-point numbers, got {_described(out)}.")
    wide_in, wide_out = _wide(inputs.dtypes), _wide(outputs.dtypes)
    ends = np.cumsum([a.size for a in arrays])[:-1]

    def call(x: Array) -> Array:
        parts = jnp.split(x, ends)
        values = [p.reshape(a.shape).astype(a.dtype) for p, a in zip(parts, arrays, strict=True)]
        found = [leaf for leaf in jax.tree.leaves(on_leaves(values)) if is_inexact(leaf)]
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
