"""Losses of yes-or-no questions, one value per example: the mean over an example's features."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxcnn.losses.examples import check_alike, mean_over_features, wide


def bce(
    probs: Float[Array, "b *features"], targets: Float[Array, "b *features"]
) -> Float[Array, " b"]:
    r"""Binary cross-entropy of probabilities, in nats, the mean over an example's n features.

    loss[b] = -1/n sum_i t log p + (1 - t) log(1 - p), each logarithm no less than -100, which
    keeps the loss finite at p = 0 and p = 1. It is PyTorch's `binary_cross_entropy` with
    reduction="none", averaged over all axes but the first. From logits, `bce_with_logits` is
    exact where p would round to 0 or 1.

    Args:
        probs: probabilities in [0, 1] of the positive class; NaN results outside.
        targets: true probabilities in [0, 1], in probs' dtype.

    Returns:
        one loss per example, in probs' dtype.

    Raises:
        ValueError: shapes or dtypes that differ (nothing is broadcast), no batch axis, or no
            features.

    Gradient:
        (p - t) / max(p (1 - p), 1e-12) over n, as in PyTorch: finite, at most 1e12, and not 0
        where p is 0 or 1 and wrong.

    Example:
        >>> import jax.numpy as jnp
        >>> losses = bce(jnp.array([0.5, 1.0, 0.0]), jnp.array([0.0, 1.0, 1.0]))
        >>> [round(loss, 4) for loss in losses.tolist()]  # ln 2, 0 and the bound
        [0.6931, 0.0, 100.0]

    """
    check_alike("bce", "probs", probs, "targets", targets)
    return mean_over_features("bce", _bce(wide(probs), wide(targets))).astype(probs.dtype)


def bce_with_logits(
    logits: Float[Array, "b *features"], targets: Float[Array, "b *features"]
) -> Float[Array, " b"]:
    r"""Binary cross-entropy of sigmoid(logits), in nats, the mean over an example's n features.

    loss[b] = -1/n sum_i t log sigmoid(z) + (1 - t) log sigmoid(-z). It is PyTorch's
    `binary_cross_entropy_with_logits` with reduction="none", averaged over all axes but the
    first, and as exact for small losses as for large ones.

    Args:
        logits: log-odds of the positive class.
        targets: true probabilities in [0, 1], in logits' dtype.

    Returns:
        one loss per example, in logits' dtype.

    Raises:
        ValueError: shapes or dtypes that differ (nothing is broadcast), no batch axis, or no
            features.

    Example:
        >>> import jax.numpy as jnp
        >>> losses = bce_with_logits(jnp.array([0.0, 1000.0]), jnp.array([1.0, 0.0]))
        >>> [round(loss, 4) for loss in losses.tolist()]
        [0.6931, 1000.0]

    """
    check_alike("bce_with_logits", "logits", logits, "targets", targets)
    z, t = wide(logits), wide(targets)
    values = t * jax.nn.softplus(-z) + (1 - t) * jax.nn.softplus(z)
    return mean_over_features("bce_with_logits", values).astype(logits.dtype)


def focal(
    logits: Float[Array, "b *features"],
    targets: Float[Array, "b *features"],
    *,
    gamma: float | int = 2.0,
    alpha: float | int | None = None,
) -> Float[Array, " b"]:
    r"""Binary cross-entropy that counts an easy example less, the mean over n features.

    With p = sigmoid(z), loss[b] = -1/n sum_i alpha t (1 - p)^gamma log p
    + (1 - alpha) (1 - t) p^gamma log(1 - p): for targets 0 and 1 torchvision's and optax's
    `sigmoid_focal_loss`. Between 0 and 1 it is the expected loss of a target drawn with that
    probability, and optax's is another. gamma = 0 without alpha is `bce_with_logits`. For one of
    several classes, as in the paper, pass `jax.nn.one_hot(labels, classes)`.

    Args:
        logits: log-odds of the positive class.
        targets: true probabilities in [0, 1], in logits' dtype.
        gamma: how fast a well-classified example fades, >= 0; a Python number, static under jit.
        alpha: weight of the positive class against 1 - alpha of the negative one, in [0, 1]; None
            for no weights (1 and 1). A Python number, static under jit.

    Returns:
        one loss per example, in logits' dtype.

    Raises:
        ValueError: shapes or dtypes that differ (nothing is broadcast), no batch axis, no features,
            or a gamma or alpha out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> losses = focal(jnp.log(jnp.array([1.0, 3.0])), jnp.array([1.0, 1.0])) / jnp.log(2.0)
        >>> [round(loss, 4) for loss in losses.tolist()]
        [0.25, 0.0259]

    Reference:
        Lin et al. (2017), Focal loss for dense object detection, equations 4 and 5,
        https://arxiv.org/abs/1708.02002.
    """
    check_alike("focal", "logits", logits, "targets", targets)
    if not gamma >= 0:
        raise ValueError(f"focal: gamma must not be negative, got {gamma!r}.")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"focal: alpha must be in [0, 1], got {alpha!r}.")
    positive, negative = (1, 1) if alpha is None else (alpha, 1 - alpha)
    z, t = wide(logits), wide(targets)
    minus_log_p, minus_log_q = jax.nn.softplus(-z), jax.nn.softplus(z)
    # (1 - p)^gamma as an exponential: powers of a p that rounded to 0 or 1 have no slope.
    values = positive * t * jnp.exp(-gamma * minus_log_q) * minus_log_p
    values += negative * (1 - t) * jnp.exp(-gamma * minus_log_p) * minus_log_q
    return mean_over_features("focal", values).astype(logits.dtype)


def hinge(
    score: Float[Array, "b *features"],
    sign: Float[Array, "b *features"] | Int[Array, "b *features"],
) -> Float[Array, " b"]:
    r"""The binary support vector machine's loss, the mean over an example's n features.

    loss[b] = 1/n sum_i max(0, 1 - sign score). For x of shape (b,) it is optax's `hinge_loss`.

    Args:
        score: signed distance from the decision boundary, in margins.
        sign: +1 or -1, the side on which the example belongs, in score's dtype or as integers.

    Returns:
        one loss per example, in score's dtype.

    Raises:
        ValueError: shapes or dtypes that do not match, no batch axis, or no features.

    Gradient:
        0 where sign * score is exactly 1.

    Example:
        >>> import jax.numpy as jnp
        >>> hinge(jnp.array([0.25, 2.0, -1.0]), jnp.array([1, 1, 1]))
        Array([0.75, 0.  , 2.  ], dtype=float32)

    Reference:
        Cortes & Vapnik (1995), Support-vector networks.
    """
    if jnp.issubdtype(sign.dtype, jnp.signedinteger):
        sign = sign.astype(score.dtype)
    check_alike("hinge", "score", score, "sign", sign)
    return mean_over_features("hinge", jax.nn.relu(1 - wide(sign) * wide(score))).astype(
        score.dtype
    )


@jax.custom_jvp
def _bce(p: Array, t: Array) -> Array:
    log_p, log_q = _clamped_logs(p)
    return t * -log_p + (1 - t) * -log_q


@_bce.defjvp
def _bce_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    p, t = primals
    p_dot, t_dot = tangents
    log_p, log_q = _clamped_logs(p)
    slope = (p - t) / jnp.maximum(p * (1 - p), 1e-12)
    return _bce(p, t), slope * p_dot + (log_q - log_p) * t_dot


def _clamped_logs(p: Array) -> tuple[Array, Array]:
    return jnp.maximum(jnp.log(p), -100), jnp.maximum(jnp.log1p(-p), -100)
