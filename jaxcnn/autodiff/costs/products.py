"""Products with the Hessian, which is never built, in the three orders of the two modes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def hessian_vector_product(
    f: Callable[[Any], Array], x: Any, v: Any, *, order: str = "forward-over-reverse"
) -> Any:
    r"""H v for the Hessian H of f at x, at the price of a few evaluations of f.

    - forward-over-reverse: d/dt grad f(x + t v), the jvp of the gradient. The cheapest as a rule.
    - reverse-over-forward: grad_x of d/dt f(x + t v), the gradient of a jvp.
    - reverse-over-reverse: grad_x of <grad f(x), v>; two backward passes, the most memory.

    All three are the same vector; forward-over-forward would take n passes.

    Args:
        f: a function of one pytree of floating-point arrays that gives one number, twice
            differentiable at x.
        x: where.
        v: the vector, a pytree like x.
        order: the outer mode over the inner one.

    Returns:
        H v, a pytree like x.

    Raises:
        ValueError: another order, or v whose structure, shapes or dtypes are not x's.

    Example:
        >>> x, v = jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0])
        >>> hessian_vector_product(lambda x: x[0] ** 2 * x[1], x, v)  # H = [[4, 2], [2, 0]]
        Array([4., 2.], dtype=float32)

    Reference:
        Pearlmutter (1994), Fast exact multiplication by the Hessian,
        https://doi.org/10.1162/neco.1994.6.1.147.
        Baydin, Pearlmutter, Radul & Siskind (2018), section 3.2.4,
        https://jmlr.org/papers/v18/17-468.html.
    """
    if order not in ORDERS:
        raise ValueError(
            f"hessian_vector_product: order is one of {', '.join(ORDERS)}, got {order!r}."
        )
    x, v = jax.tree.map(jnp.asarray, (x, v))
    shapes = [jax.tree.map(lambda a: (a.shape, str(a.dtype)), tree) for tree in (x, v)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"hessian_vector_product: v needs x's structure, shapes and dtypes, {shapes[0]}, "
            f"got {shapes[1]}."
        )
    found = [jnp.shape(y) for y in jax.tree.leaves(jax.eval_shape(f, x))]
    if found != [()]:
        raise ValueError(f"hessian_vector_product: f must give one number, got shapes {found}.")
    return ORDERS[order](f, x, v)


def _forward_over_reverse(f: Callable[[Any], Array], x: Any, v: Any) -> Any:
    return jax.jvp(jax.grad(f), (x,), (v,))[1]


def _reverse_over_forward(f: Callable[[Any], Array], x: Any, v: Any) -> Any:
    return jax.grad(lambda x: jax.jvp(f, (x,), (v,))[1])(x)


def _reverse_over_reverse(f: Callable[[Any], Array], x: Any, v: Any) -> Any:
    _, back = jax.vjp(jax.grad(f), x)
    return back(v)[0]  # H' v, and H is symmetric


ORDERS = {
    "forward-over-reverse": _forward_over_reverse,
    "reverse-over-forward": _reverse_over_forward,
    "reverse-over-reverse": _reverse_over_reverse,
}
