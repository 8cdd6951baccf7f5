"""What the losses share: checks on a batch of examples, labels as masks, sums in float32."""

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike


def wide(x: Array) -> Array:
    """Numbers narrower than float32 as float32: exponentials and sums need its digits."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def mean_over_features(function: str, values: Array) -> Array:
    """(b, *features) -> (b,): the mean over all axes but the first; raises where that is empty."""
    if 0 in values.shape[1:]:
        raise ValueError(
            f"{function}: the mean over an example's features needs at least one, "
            f"got shape {values.shape}."
        )
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))


def one_hot(labels: Array, classes: int) -> Array:
    """Integers (b,) -> booleans (b, classes); a row is all False where no class has that label."""
    return labels[:, None] == jnp.arange(classes)


def one_hot_distribution(labels: Array, classes: int, dtype: DTypeLike) -> Array:
    """Integers (b,) -> distributions (b, classes), all NaN where no class has that label."""
    chosen = one_hot(labels, classes)
    return jnp.where(chosen.any(axis=-1, keepdims=True), chosen, jnp.nan).astype(dtype)


def nan_unless_labelled(loss: Array, chosen: Array) -> Array:
    """NaN, and so its gradient, for the examples whose row of `chosen` is all False.

    Indexing with a label out of range would take a wrong class in silence (-1 is the last one),
    and compiled code cannot raise.
    """
    return loss * jnp.where(chosen.any(axis=-1), 1, jnp.nan).astype(loss.dtype)


def check_alike(function: str, first: str, a: Array, second: str, b: Array) -> None:
    """Raises unless both are floating point, of one dtype and one shape (b, *features)."""
    _check_floating(function, first, a)
    if a.shape != b.shape or not a.ndim:
        remedy = "" if a.ndim or b.ndim else ": add a batch axis"
        raise ValueError(
            f"{function}: {first} and {second} need one shape (b, *features), "
            f"got {a.shape} and {b.shape}{remedy}."
        )
    if a.dtype != b.dtype:
        raise ValueError(
            f"{function}: {first} and {second} need one dtype, "
            f"got {a.dtype.name} and {b.dtype.name}."
        )


def check_scores(function: str, name: str, scores: Array) -> None:
    """Raises unless the scores are floating point with axes (b, classes)."""
    if scores.ndim != 2:
        raise ValueError(
            f"{function}: {name} needs axes (b, classes), got {scores.shape}: "
            "add a batch axis, or reshape pixels to (b * h * w, classes)."
        )
    _check_floating(function, name, scores)


def check_labels(function: str, labels: Array, examples: int) -> None:
    """Raises unless there is one integer per example."""
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape != (examples,):
        raise ValueError(
            f"{function}: labels must be integers of shape ({examples},), "
            f"got {labels.dtype.name} {labels.shape}."
        )


def _check_floating(function: str, name: str, x: Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{function}: {name} must be floating point, got {x.dtype.name}.")
