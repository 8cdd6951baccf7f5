"""Losses between numbers, one value per example: the mean (or sum) over an example's features."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcnn.losses.examples import check_alike, mean_over_features, wide


def mse(
    predictions: Float[Array, "b *features"], targets: Float[Array, "b *features"]
) -> Float[Array, " b"]:
    r"""Mean squared error: the mean over an example's n features of (prediction - target)^2.

    loss[b] = 1/n sum_i (p[b, i] - t[b, i])^2. It is PyTorch's `mse_loss` with
    reduction="none", averaged over all axes but the first; for x of shape (b,) they are the same.

    Args:
        predictions: what the model says.
        targets: what is true.

    Returns:
        one loss per example, in predictions' dtype.

    Raises:
        ValueError: shapes or dtypes that differ (nothing is broadcast), no batch axis, or no
            features.

    Example:
        >>> import jax.numpy as jnp
        >>> mse(jnp.array([[1.0, 2.0], [3.0, 3.0]]), jnp.array([[0.0, 0.0], [3.0, 1.0]]))
        Array([2.5, 2. ], dtype=float32)

    """
    check_alike("mse", "predictions", predictions, "targets", targets)
    errors = wide(predictions) - wide(targets)
    return mean_over_features("mse", errors**2).astype(predictions.dtype)


def squared_error(
    predictions: Float[Array, "b *features"], targets: Float[Array, "b *features"]
) -> Float[Array, " b"]:
    r"""Squared error: the sum over an example's features of (prediction - target)^2, no half.

    loss[b] = sum_i (p[b, i] - t[b, i])^2 = ||p[b] - t[b]||^2, the squared distance, n times
    `mse`. Where a textbook writes 1/2 ||p - t||^2, halve it. optax's `squared_error` is the terms
    of this sum, its `l2_loss` half of them.

    Args:
        predictions: what the model says.
        targets: what is true.

    Returns:
        one loss per example, in predictions' dtype.

    Raises:
        ValueError: shapes or dtypes that differ (nothing is broadcast), or no batch axis.

    Example:
        >>> import jax.numpy as jnp
        >>> squared_error(jnp.array([[1.0, 2.0], [3.0, 3.0]]), jnp.array([[0.0, 0.0], [3.0, 1.0]]))
        Array([5., 4.], dtype=float32)

    """
    check_alike("squared_error", "predictions", predictions, "targets", targets)
    errors = wide(predictions) - wide(targets)
    return jnp.sum(errors**2, axis=tuple(range(1, errors.ndim))).astype(predictions.dtype)


def l1(
    predictions: Float[Array, "b *features"], targets: Float[Array, "b *features"]
) -> Float[Array, " b"]:
    r"""Mean absolute error: the mean over an example's n features of |prediction - target|.

    loss[b] = 1/n sum_i |p[b, i] - t[b, i]|. It is PyTorch's `l1_loss` with
    reduction="none", averaged over all axes but the first.

    Args:
        predictions: what the model says.
        targets: what is true.

    Returns:
        one loss per example, in predictions' dtype.

    Raises:
        ValueError: shapes or dtypes that differ (nothing is broadcast), no batch axis, or no
            features.

    Gradient:
        0 where prediction and target are equal.

    Example:
        >>> import jax.numpy as jnp
        >>> l1(jnp.array([[1.0, 2.0], [3.0, 3.0]]), jnp.array([[0.0, 0.0], [3.0, 1.0]]))
        Array([1.5, 1. ], dtype=float32)

    """
    check_alike("l1", "predictions", predictions, "targets", targets)
    errors = wide(predictions) - wide(targets)
    values = errors * jnp.sign(errors)  # jnp.abs has slope 1 at 0
    return mean_over_features("l1", values).astype(predictions.dtype)


def huber(
    predictions: Float[Array, "b *features"],
    targets: Float[Array, "b *features"],
    *,
    delta: float | int = 1.0,
) -> Float[Array, " b"]:
    r"""Huber's loss: half the squared error up to delta, then a straight line of slope delta.

    loss[b] = 1/n sum_i h(p[b, i] - t[b, i]) with h(e) = e^2 / 2 where |e| <= delta, else
    delta (|e| - delta / 2). It is PyTorch's `huber_loss` with reduction="none", averaged
    over all axes but the first.

    Args:
        predictions: what the model says.
        targets: what is true.
        delta: the error from which the loss grows linearly, > 0; a Python number, static under jit.

    Returns:
        one loss per example, in predictions' dtype.

    Raises:
        ValueError: shapes or dtypes that differ (nothing is broadcast), no batch axis, no features,
            or a delta that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> huber(jnp.array([1.0, 3.0]), jnp.array([0.0, 0.0]))
        Array([0.5, 2.5], dtype=float32)

    Reference:
        Huber (1964), Robust estimation of a location parameter.
    """
    check_alike("huber", "predictions", predictions, "targets", targets)
    if not delta > 0:
        raise ValueError(f"huber: delta must be positive, got {delta!r}.")
    errors = jnp.abs(wide(predictions) - wide(targets))
    bent = jnp.minimum(errors, delta)
    values = bent * (errors - bent / 2)  # e^2 / 2 and delta (|e| - delta / 2) in one
    return mean_over_features("huber", values).astype(predictions.dtype)
