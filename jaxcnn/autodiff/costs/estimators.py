"""Gradients estimated by forward mode alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def forward_gradient(
    f: Callable[[Any], Array], *, directions: int = 1, has_value: bool = False
) -> Callable[[Array, Any], Any]:
    r"""An unbiased estimate of the gradient of f without a backward pass.

    g = (grad f . v) v for a random normal direction v: one jvp gives the slope along v, and
    E[v v'] = I makes E[g] = grad f. Its size is another matter: E|g|^2 = (n + 2) |grad f|^2 for n
    inputs, so it points the right way only on average. The mean of k directions has
    E|g|^2 = (1 + (n + 1) / k) |grad f|^2.

    Args:
        f: a function of one pytree of floating-point arrays that gives one number.
        directions: k, how many to take the mean over, at once by vmap.
        has_value: give f(x) too.

    Returns:
        (key, x) -> an estimate, a pytree like x; with `has_value`, (f(x), estimate).

    Raises:
        ValueError: fewer than one direction, a result with axes, or inputs that are not
            floating-point numbers.

    Example:
        >>> estimate = forward_gradient(lambda x: (x**2).sum(), directions=100_000)
        >>> estimate(jax.random.key(0), jnp.array([1.0, -2.0])).round(1)
        Array([ 2., -4.], dtype=float32)

    Reference:
        Baydin, Pearlmutter, Syme, Wood & Torr (2022), Gradients without backpropagation, section
        3, https://arxiv.org/abs/2202.08587.
    """
    if not isinstance(directions, int) or directions < 1:
        raise ValueError(f"forward_gradient: directions is an integer >= 1, got {directions!r}.")

    def one(key: Array, x: Any) -> tuple[Array, Any]:
        v = _normal(key, x)
        value, slope = jax.jvp(f, (x,), (v,))
        if value.shape:
            raise ValueError(f"forward_gradient: f must give one number, got shape {value.shape}.")
        return value, jax.tree.map(lambda v: (slope * v).astype(v.dtype), v)

    def estimate(key: Array, x: Any) -> Any:
        if directions == 1:
            value, gradient = one(key, x)
        else:
            keys = jax.random.split(key, directions)
            value, found = jax.vmap(one, in_axes=(0, None), out_axes=(None, 0))(keys, x)
            gradient = jax.tree.map(lambda g: g.mean(axis=0), found)
        return (value, gradient) if has_value else gradient

    return estimate


def _normal(key: Array, x: Any) -> Any:
    """A direction like x, all of its numbers normal and independent."""
    leaves, tree = jax.tree.flatten(x)
    for leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(
                "forward_gradient: inputs need floating-point numbers, "
                f"got {jnp.result_type(leaf)}."
            )
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.normal(k, jnp.shape(leaf), jnp.result_type(leaf))
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, drawn)
