"""What a comparison of modes runs: f by itself, its derivatives, finite differences."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.autodiff.leaves import is_inexact, moving

Program = Callable[..., Any]


def real(
    name: str, f: Callable[..., Any], args: Sequence[Any]
) -> tuple[Program, list[Any], list[Any]]:
    """f as a function of a list of floating-point arrays to another, that list, and its results."""
    function, xs, _ = moving(name, f, args)

    def g(xs: Sequence[Any]) -> list[Any]:
        return [y for y in jax.tree.leaves(function(*xs)) if is_inexact(y)]

    ys = jax.eval_shape(g, xs)
    if not numbers(ys):
        raise ValueError(f"{name}: f must return floating-point numbers, got none.")
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
