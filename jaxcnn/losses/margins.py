"""One loss from logistic regression to the multiclass support vector machine."""

import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer
from jaxtyping import Float, Integer, Real

from jaxcnn.losses.examples import check_labels, check_scores, nan_unless_labelled, one_hot, wide


def structured(
    scores: Float[Array, "b classes"],
    labels: Integer[Array, " b"],
    *,
    task_loss: Float[Array, "classes classes"],
    epsilon: float | int | Real[Array, ""],
) -> Float[Array, " b"]:
    r"""The structured loss: a soft maximum of task loss plus score, less the true class's score.

    loss[b] = epsilon log sum_c exp((L[y, c] + F[b, c]) / epsilon) - F[b, y], for the label y, the
    scores F and the task loss L; for epsilon = 0 its limit, max_c (L[y, c] + F[b, c]) - F[b, y].
    The two are never more than epsilon log(classes) apart. Special cases:

    - epsilon = 1 and L = 0: `cross_entropy`; with two classes logistic regression, which is
      `bce_with_logits` of F[1] - F[0].
    - epsilon = 0 and L = 1 - identity: Crammer and Singer's multiclass support vector machine,
      `multiclass_hinge`; with two classes the binary one, `hinge` of F[1] - F[0].

    Args:
        scores: one score F per class, higher for likelier ones.
        labels: one integer y in [0, classes) per example.
        task_loss: L[y, c] is the cost of answering c where y is true, in scores' dtype.
        epsilon: the temperature, >= 0. Under jit it may be traced, so that it can be annealed.

    Returns:
        one loss per example, in scores' dtype; NaN for a label out of range, or where a traced
        epsilon is negative.

    Raises:
        ValueError: shapes or dtypes that do not match, or a negative epsilon.

    Gradient:
        with epsilon = 0, classes that tie for the maximum share it evenly, the true one included;
        epsilon itself then has none.

    Example:
        >>> import jax.numpy as jnp
        >>> scores, labels = jnp.array([[2.0, 1.5, 0.0]]), jnp.array([0])
        >>> structured(scores, labels, task_loss=1 - jnp.eye(3), epsilon=0)
        Array([0.5], dtype=float32)

    Reference:
        Hazan & Urtasun (2010), A primal-dual message-passing algorithm for approximated large
        scale structured prediction,
        https://papers.nips.cc/paper/3913-a-primal-dual-message-passing-algorithm-for-approximated-large-scale-structured-prediction.
    """
    check_scores("structured", "scores", scores)
    check_labels("structured", labels, scores.shape[0])
    classes = scores.shape[-1]
    if task_loss.shape != (classes, classes) or task_loss.dtype != scores.dtype:
        raise ValueError(
            f"structured: task_loss must be {scores.dtype.name} {(classes, classes)}, "
            f"got {task_loss.dtype.name} {task_loss.shape}."
        )
    traced = isinstance(epsilon, Tracer)  # its value is not known yet
    if not traced and not epsilon >= 0:
        raise ValueError(f"structured: epsilon must not be negative, got {epsilon!r}.")
    chosen = one_hot(labels, classes)
    f = wide(scores)
    true = jnp.sum(jnp.where(chosen, f, 0), axis=-1, keepdims=True)
    cost = wide(jnp.take(task_loss, labels, axis=0, mode="clip"))  # a bad label's is made NaN below
    excess = cost + (f - true)
    worst = jnp.max(excess, axis=-1)
    if traced:
        soft = _soft_maximum(excess, jnp.where(epsilon > 0, epsilon, 1))
        worst = jnp.where(epsilon > 0, soft, jnp.where(epsilon == 0, worst, jnp.nan))
    elif epsilon > 0:
        worst = _soft_maximum(excess, epsilon)
    return nan_unless_labelled(worst, chosen).astype(scores.dtype)


def _soft_maximum(values: Array, epsilon: float | int | Array) -> Array:
    # The maximum comes off before the division, so that no exponential overflows.
    worst = lax.stop_gradient(jnp.max(values, axis=-1))
    terms = jnp.exp((values - worst[:, None]) / epsilon)
    return worst + epsilon * jnp.log(jnp.sum(terms, axis=-1))
