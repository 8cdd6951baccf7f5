"""Functions as SymPy expressions, and their derivatives by SymPy's rules."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.autodiff.leaves import is_inexact, parameter_names
from jaxcnn.autodiff.symbols.differentiation import differentiate
from jaxcnn.autodiff.symbols.numbering import numpy_function
from jaxcnn.autodiff.symbols.scalars import expressions, shallow, sympy
from jaxcnn.autodiff.symbols.unrolling import budget, is_symbolic, unroll


@dataclass(frozen=True)
class SymbolicFunction:
    """A function's outputs as SymPy expressions of its inputs, element by element.

    Attributes:
        inputs: the arguments, with an object array of symbols for each floating-point array, a
            symbol for each scalar, and everything else as it was given.
        outputs: what the function returns, with object arrays of expressions and, for scalars,
            single expressions.
        limit: the scalar operations that were allowed.
    """

    inputs: tuple[Any, ...]
    outputs: Any
    limit: int

    def jacobian(self, argnums: int | Sequence[int] = 0) -> Any:
        """The derivative of every output by every input, nested as `jax.jacrev` nests it.

        SymPy's derivative of every elementary function, put together by the sum, product and
        chain rules; what several entries share is differentiated once.

        Args:
            argnums: by which arguments; a tuple of them gives a tuple.

        Returns:
            for each output a pytree like the argument, with arrays of shape (*output, *input).

        Raises:
            ValueError: an argument that holds no symbols throughout, or more than ten times
                `limit` steps.
        """
        many = isinstance(argnums, Sequence)
        chosen = tuple(self.inputs[i] for i in argnums) if many else self.inputs[argnums]
        leaves, tree = jax.tree.flatten(chosen)
        for leaf in leaves:
            if not _symbols(leaf):
                raise ValueError(
                    "jacobian: the arguments of argnums hold floating-point numbers alone, "
                    f"got {leaf!r} in argnums={argnums}."
                )
        symbols = [s for leaf in leaves for s in _elements(leaf)]
        outputs, out_tree = jax.tree.flatten(self.outputs)
        flat = [e for output in outputs for e in _elements(output)]
        with shallow("jacobian"):
            columns = differentiate(flat, symbols, 10 * self.limit)
        entries = [e for column in columns for e in column]
        matrix = _array(entries, (len(symbols), len(flat))).T
        found, row = [], 0
        for output in outputs:
            size, column, parts = np.size(output), 0, []
            for leaf in leaves:
                part = matrix[row : row + size, column : column + np.size(leaf)]
                parts.append(_single(part.reshape(np.shape(output) + np.shape(leaf))))
                column += np.size(leaf)
            found.append(tree.unflatten(parts))
            row += size
        return out_tree.unflatten(found)

    def gradient(self, argnums: int | Sequence[int] = 0) -> Any:
        """The `jacobian` of a function that returns one number: a pytree like the argument.

        Raises:
            ValueError: the function returns more than one number, or what `jacobian` refuses.
        """
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(self.outputs)]
        if shapes != [()]:
            raise ValueError(
                f"gradient: the function returns one number, got outputs of shapes {shapes}; "
                "take its jacobian()."
            )
        return self.jacobian(argnums)

    def lambdify(self, tree: Any = None) -> Callable[..., Any]:
        """A NumPy function of the same arguments that computes expressions in the symbols.

        Args:
            tree: a pytree of expressions and arrays of them, `jacobian()` for one; by default the
                outputs.

        Returns:
            a function of numbers in the shapes of `inputs`, to a pytree of float64 arrays. It
            takes the integers and whatever else holds no symbols from `inputs`. Max and min have
            slope 1/2 where two terms tie, relu too.
        """
        leaves, out_tree = jax.tree.flatten(self.outputs if tree is None else tree)
        own, in_tree = jax.tree.flatten(self.inputs)
        symbols = [s for leaf in own if _symbols(leaf) for s in _elements(leaf)]
        with shallow("lambdify"):
            compute = numpy_function(symbols, [e for leaf in leaves for e in _elements(leaf)])

        def evaluate(*args: Any) -> Any:
            given, tree = jax.tree.flatten(args)
            shapes = [(np.shape(g), np.shape(o)) for g, o in zip(given, own, strict=False)]
            if tree != in_tree or any(a != b for a, b in shapes):
                raise ValueError(
                    f"lambdify: the arguments are to be like {in_tree} with shapes "
                    f"{[b for _, b in shapes]}, got {tree} with {[a for a, _ in shapes]}."
                )
            used = [np.ravel(g) for g, o in zip(given, own, strict=True) if _symbols(o)]
            numbers = np.concatenate([np.zeros(0), *used]).astype(np.float64)
            values = np.array(compute(numbers), dtype=np.float64)
            ends = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
            parts = np.split(values, ends) if leaves else []
            return out_tree.unflatten(
                part.reshape(np.shape(leaf)) for part, leaf in zip(parts, leaves, strict=True)
            )

        return evaluate

    def _repr_latex_(self) -> str:
        """The outputs as notebooks print them."""
        sp = sympy()
        arrays = (np.asarray(leaf, dtype=object) for leaf in jax.tree.leaves(self.outputs))
        parts = (sp.latex(sp.Array(a) if a.ndim else a.item()) for a in arrays)
        return "$$" + r",\quad ".join(parts) + "$$"


def symbolic(f: Callable[..., Any], *args: Any, limit: int = 20_000) -> SymbolicFunction:
    r"""What a JAX function computes, as SymPy expressions, with exact derivatives.

    Every element of every floating-point argument becomes a real symbol named by the function's
    parameter, the path inside it and the index (`x`, `W_0_1`, `params_conv_kernel_0_0_0_2`). The
    jaxpr runs on them: element-wise operations, data movement, products (`dot_general`,
    convolutions), sums, products, maxima, windows, calls, and loops of fixed length. Numbers are
    exact where they are integers or short binary fractions. Casts between floating-point types
    change nothing. A function with a custom derivative is differentiated as it is written;
    `stop_gradient(e)` stands for e and has derivative 0.

    Args:
        f: any traceable function of pytrees.
        args: its arguments: numbers, arrays, or `jax.ShapeDtypeStruct`s. Of floating-point ones
            only the shapes count; integers, truth values, keys and what else there is stay as
            they are.
        limit: the scalar operations of f that are written out at most.

    Returns:
        its `inputs`, its `outputs`, and `jacobian()`, `gradient()` and `lambdify()`.

    Raises:
        ImportError: SymPy is not installed.
        ValueError: f takes more than `limit` scalar operations, a primitive has no symbolic form,
            a branch or an index depends on the symbols, or an argument is complex or an integer
            without a value.

    Gradient:
        max and min, and so relu, have slope 1/2 at ties (SymPy's Heaviside(0)); JAX's own relu
        has slope 0 at 0. abs, sign, floor and comparisons have slope 0 where they jump or turn.

    Example:
        >>> s = symbolic(lambda x1, x2: jnp.log(x1) + x1 * x2 - jnp.sin(x2), 2.0, 5.0)
        >>> s.outputs
        x1*x2 + log(x1) - sin(x2)
        >>> s.gradient(argnums=(0, 1))
        (x2 + 1/x1, x1 - cos(x2))
        >>> d1, d2 = s.lambdify(s.gradient(argnums=(0, 1)))(2.0, 5.0)
        >>> print(d1, d2.round(3))
        5.5 1.716

    Reference:
        Baydin, Pearlmutter, Radul & Siskind (2018), Automatic differentiation in machine learning:
        a survey, section 2.2, https://arxiv.org/abs/1502.05767.
    """
    sympy()
    paths, tree = jax.tree_util.tree_flatten_with_path(args)
    names = parameter_names(f, len(args))
    leaves: list[Any] = []
    taken: set[str] = set()
    for path, leaf in paths:
        stem = "_".join([names[path[0].idx], *(_key(entry) for entry in path[1:])])
        leaves.append(_variables(stem, leaf, taken) if is_inexact(leaf) else _concrete(stem, leaf))
    places = [i for i, leaf in enumerate(leaves) if _symbols(leaf)]

    with jax.enable_x64(True):
        fixed = [
            jnp.asarray(leaf) if isinstance(leaf, np.ndarray) and not _symbols(leaf) else leaf
            for leaf in leaves
        ]

        def g(*floats: Any) -> Any:
            mixed = list(fixed)
            for i, value in zip(places, floats, strict=True):
                mixed[i] = value
            return f(*tree.unflatten(mixed))

        shapes = [jax.ShapeDtypeStruct(np.shape(leaves[i]), jnp.float64) for i in places]
        jaxpr, out = jax.make_jaxpr(g, return_shape=True)(*shapes)
        symbols = [np.asarray(leaves[i], dtype=object) for i in places]
        with shallow("symbolic"):
            found = unroll(jaxpr, symbols, (), budget(limit))
        outputs = [_single(expressions(value)) for value in found]
    return SymbolicFunction(
        tree.unflatten(leaves), jax.tree.structure(out).unflatten(outputs), limit
    )


def _key(entry: Any) -> str:
    return jax.tree_util.keystr((entry,), simple=True)


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def _concrete(stem: str, leaf: Any) -> Any:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise ValueError(
            f"symbolic: {stem} holds integers, which keep their values; got only its shape, {leaf}."
        )
    return leaf


def _variables(stem: str, leaf: Any, taken: set[str]) -> Any:
    """An array of symbols under names that no other argument has."""
    if jnp.issubdtype(_dtype(leaf), jnp.complexfloating):
        raise ValueError(f"symbolic: {stem} needs to be real, got {_dtype(leaf)}.")
    shape = np.shape(leaf)
    names = ["_".join(map(str, (stem, *index))) for index in np.ndindex(*shape)]
    if not taken.isdisjoint(names):
        return _variables(stem + "_", leaf, taken)
    taken.update(names)
    symbol = sympy().Symbol
    return _single(_array([symbol(name, real=True) for name in names], shape))


def _symbols(leaf: Any) -> bool:
    """Whether a leaf of the inputs holds symbols."""
    return is_symbolic(leaf) or isinstance(leaf, sympy().Symbol)


def _elements(leaf: Any) -> Iterator[Any]:
    return iter(np.asarray(leaf, dtype=object).ravel())


def _array(elements: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    holder = np.empty(len(elements), dtype=object)
    holder[:] = elements
    return holder.reshape(shape)


def _single(array: np.ndarray) -> Any:
    """An object array, or its only element where it has no axes."""
    return array if array.ndim else array.item()
