"""What a comparison of modes runs: f by itself, its derivatives, finite differences."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Program = Callable[..., Any]


def real(
    name: str, f: Callable[..., Any], args: Sequence[Any]
) -> tuple[Program, list[Any], list[Any]]:
    """f as a function of a list of floating-point arrays to another, that list, and its results."""
    leaves, tree = jax.tree.flatten(tuple(args))
    places = [place for place, leaf in enumerate(leaves) if _is(leaf, jnp.floating)]
    if any(_is(leaf, jnp.complexfloating) for leaf in leaves):
        raise ValueError(f"{name}: inputs need to be real, got complex numbers.")
    xs = [jnp.asarray(leaves[place]) for place in places]

    def g(xs: Sequence[Any]) -> list[Any]:
        full = list(leaves)
        for place, x in zip(places, xs, strict=True):
            full[place] = x
        found = jax.tree.leaves(f(*jax.tree.unflatten(tree, full)))
        return [y for y in found if _is(y, jnp.floating)]

    ys = jax.eval_shape(g, xs)
    for what, found in (("inputs", xs), ("outputs", ys)):
        if not numbers(found):
            raise ValueError(f"{name}: {what} need floating-point numbers, got none.")
    return g, xs, ys


def programs(g: Program) -> dict[str, Program]:
    """What is compared, as functions of the inputs, a direction and weights of the outputs."""

    def vjp(xs: Any, v: Any, u: Any) -> Any:
        y, back = jax.vjp(g, xs)
        return y, back(u)[0]

    return {
        "function": lambda xs, v, u: g(xs),
        "jvp": lambda xs, v, u: jax.jvp(g, (xs,), (v,)),
        "vjp": vjp,
        "jacfwd": lambda xs, v, u: jax.jacfwd(g)(xs),
        "jacrev": lambda xs, v, u: jax.jacrev(g)(xs),
        "numerical": lambda xs, v, u: differences(g, xs),
    }


def differences(g: Program, xs: Sequence[Any]) -> list[list[Any]]:
    """The Jacobian by central differences, blocks as jax.jacfwd has them.

    The step, eps^(1/3) for numbers up to 1 and relative to larger ones, balances the error of the
    quotient with that of rounding.
    """
    blocks = []
    for place, x in enumerate(xs):
        step = jnp.finfo(x.dtype).eps ** (1 / 3) * jnp.maximum(jnp.abs(x), 1)

        def column(one: Any, place: int = place, x: Any = x, step: Any = step) -> list[Any]:
            high, low = x + one * step, x - one * step
            rise = zip(*(g([*xs[:place], at, *xs[place + 1 :]]) for at in (high, low)), strict=True)
            run = (high - low).sum()
            return [(a - b) / run for a, b in rise]

        ones = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        columns = jax.vmap(column, out_axes=-1)(ones)
        blocks.append([c.reshape(*c.shape[:-1], *x.shape) for c in columns])
    return [list(row) for row in zip(*blocks, strict=True)]


def flat(tree: Any) -> np.ndarray:
    """All numbers of a pytree in one array, in double precision."""
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in jax.tree.leaves(tree)])


def numbers(arrays: Sequence[Any]) -> int:
    """How many numbers arrays hold."""
    return sum(a.size for a in arrays)


def normal(key: Any, arrays: Sequence[Any]) -> list[Any]:
    """A random direction for arrays of these shapes."""
    keys = jax.random.split(key, len(arrays))
    return [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, arrays, strict=True)]


def _is(leaf: Any, kind: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), kind)
