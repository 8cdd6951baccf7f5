"""Losses of a choice between classes, one value per example.

Wherever labels are integers, one that names no class (negative ones too) makes the loss and its
gradient NaN: compiled code cannot raise, and indexing would take a wrong class in silence.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Integer

from jaxcnn.losses.examples import (
    check_alike,
    check_labels,
    check_scores,
    nan_unless_labelled,
    one_hot,
    one_hot_distribution,
    wide,
)


def cross_entropy(
    logits: Float[Array, "b classes"],
    labels: Integer[Array, " b"] | Float[Array, "b classes"],
    *,
    label_smoothing: float | int = 0.0,
    class_weights: Float[Array, " classes"] | None = None,
    ignore_label: int | None = None,
) -> Float[Array, " b"]:
    r"""Cross-entropy of the softmax of logits, in nats, for labels or for distributions.

    loss[b] = -sum_c w[c] t[b, c] log softmax(logits[b])[c], where the target t is the label's
    one-hot vector, or the distribution given, mixed with the uniform one by label smoothing:
    t <- (1 - label_smoothing) t + label_smoothing / classes. It is PyTorch's `cross_entropy`
    with reduction="none", in all its options.

    The caller takes the mean. `losses.mean()` is right without weights and ignored labels. With
    them PyTorch's mean is the weighted one, over the examples that are not ignored:
    `losses.sum() / kept.sum()` with `kept = labels != ignore_label`, and with class weights
    `losses.sum() / jnp.where(kept, class_weights[labels], 0).sum()`.

    Args:
        logits: unnormalized log-probabilities.
        labels: one integer in [0, classes) per example, or one distribution over the classes,
            in logits' dtype.
        label_smoothing: share of the target that goes to all classes alike, in [0, 1]; a Python
            number, static under jit.
        class_weights: one factor per class, 1 by default.
        ignore_label: integer labels equal to this one, in range or not, have loss 0 and no
            gradient, whatever their logits.

    Returns:
        one loss per example, in logits' dtype; NaN for a label out of range.

    Raises:
        ValueError: shapes or dtypes that do not match, label_smoothing outside [0, 1], or
            ignore_label with distributions.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.25, 0.75], [0.5, 0.5]]))
        >>> losses = cross_entropy(logits, jnp.array([0, 1]))
        >>> [round(p, 4) for p in jnp.exp(-losses).tolist()]
        [0.25, 0.5]

    Reference:
        Szegedy et al. (2016), Rethinking the Inception architecture, section 7 (label
        smoothing), https://arxiv.org/abs/1512.00567.
    """
    _check_cross_entropy(logits, labels, label_smoothing, class_weights, ignore_label)
    classes = logits.shape[-1]
    ignored = None
    if labels.ndim == 1:
        if ignore_label is not None:
            ignored = labels == jnp.int32(ignore_label)
            labels = jnp.where(ignored, 0, labels)
            logits = jnp.where(ignored[:, None], 0, logits)  # else 0 * NaN if they overflowed
        labels = one_hot_distribution(labels, classes, logits.dtype)
    targets = (1 - label_smoothing) * wide(labels) + label_smoothing / classes
    if class_weights is not None:
        targets = wide(class_weights) * targets
    loss = jnp.sum(-_times_log(targets, jax.nn.log_softmax(wide(logits))), axis=-1)
    if ignored is not None:
        loss = jnp.where(ignored, 0, loss)
    return loss.astype(logits.dtype)


def nll(log_probs: Float[Array, "b classes"], labels: Integer[Array, " b"]) -> Float[Array, " b"]:
    r"""Negative log-likelihood of the labels: loss[b] = -log_probs[b, labels[b]].

    `nll(log_softmax(logits), labels)` is `cross_entropy(logits, labels)`. It is PyTorch's
    `nll_loss` with reduction="none".

    Args:
        log_probs: logarithms of the classes' probabilities.
        labels: one integer in [0, classes) per example.

    Returns:
        one loss per example, in log_probs' dtype; NaN for a label out of range.

    Raises:
        ValueError: shapes or dtypes that do not match.

    Example:
        >>> import jax.numpy as jnp
        >>> nll(jnp.array([[-1.0, -2.0], [-3.0, -4.0]]), jnp.array([0, 1]))
        Array([1., 4.], dtype=float32)

    """
    check_scores("nll", "log_probs", log_probs)
    check_labels("nll", labels, log_probs.shape[0])
    targets = one_hot_distribution(labels, log_probs.shape[-1], log_probs.dtype)
    return jnp.sum(-_times_log(targets, log_probs), axis=-1)


def kl_divergence(
    log_probs: Float[Array, "b classes"], targets: Float[Array, "b classes"]
) -> Float[Array, " b"]:
    r"""Kullback-Leibler divergence of the targets from the model, in nats.

    loss[b] = sum_c t[c] (log t[c] - log_probs[c]), where t[c] = 0 adds 0. It is PyTorch's
    `kl_div` with reduction="none", summed over the classes, and optax's `kl_divergence`.

    Args:
        log_probs: logarithms of the model's probabilities.
        targets: true distributions over the classes, in log_probs' dtype.

    Returns:
        one loss per example, in log_probs' dtype.

    Raises:
        ValueError: shapes or dtypes that differ, or axes other than (b, classes).

    Gradient:
        with respect to targets, log t - log_probs + 1, and at t = 0, where that is infinite,
        -log_probs.

    Example:
        >>> import jax.numpy as jnp
        >>> losses = kl_divergence(jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 0.0]]))
        >>> round(float(losses[0]), 4)  # ln 2
        0.6931

    """
    check_scores("kl_divergence", "log_probs", log_probs)
    check_alike("kl_divergence", "log_probs", log_probs, "targets", targets)
    log_q, t = wide(log_probs), wide(targets)
    entropy_terms = t * jnp.log(jnp.where(t == 0, 1, t))
    return jnp.sum(entropy_terms - _times_log(t, log_q), axis=-1).astype(log_probs.dtype)


def multiclass_hinge(
    scores: Float[Array, "b classes"],
    labels: Integer[Array, " b"],
    *,
    margin: float | int = 1.0,
    over_classes: Literal["max", "sum"] = "max",
) -> Float[Array, " b"]:
    r"""The multiclass support vector machine's loss: wrong classes should score a margin less.

    With "max", Crammer and Singer's: loss[b] = max(0, max over c != y of margin + s[c] - s[y]),
    which counts the worst offender. It is optax's `multiclass_hinge_loss`, and `structured` with
    0/1 task loss and epsilon = 0. With "sum", Weston and Watkins's: loss[b] = sum over c != y of
    max(0, margin + s[c] - s[y]), which counts all. It is `classes` times PyTorch's
    `multi_margin_loss` with reduction="none", which divides by the number of classes.

    Args:
        scores: one score per class, higher for likelier ones.
        labels: one integer y in [0, classes) per example.
        margin: how much higher the true class must score.
        over_classes: "max" or "sum".

    Returns:
        one loss per example, in scores' dtype; NaN for a label out of range.

    Raises:
        ValueError: shapes or dtypes that do not match, or another over_classes.

    Gradient:
        a wrong class exactly a margin below has none; wrong classes that tie for the worst
        share it evenly.

    Example:
        >>> import jax.numpy as jnp
        >>> scores = jnp.array([[3.25, 5.0, -1.5], [1.0, 2.0, 4.0]])
        >>> multiclass_hinge(scores, jnp.array([0, 2]))
        Array([2.75, 0.  ], dtype=float32)
        >>> multiclass_hinge(scores, jnp.array([0, 1]), over_classes="sum")
        Array([2.75, 3.  ], dtype=float32)

    Reference:
        Crammer & Singer (2001), On the algorithmic implementation of multiclass kernel-based
        vector machines; Weston & Watkins (1999), Support vector machines for multi-class
        pattern recognition.
    """
    check_scores("multiclass_hinge", "scores", scores)
    check_labels("multiclass_hinge", labels, scores.shape[0])
    if over_classes not in ("max", "sum"):
        raise ValueError(
            f'multiclass_hinge: over_classes must be "max" or "sum", got {over_classes!r}.'
        )
    chosen = one_hot(labels, scores.shape[-1])
    s = wide(scores)
    true = jnp.sum(jnp.where(chosen, s, 0), axis=-1, keepdims=True)
    excess = jnp.where(chosen, 0, jax.nn.relu(margin + s - true))
    loss = jnp.max(excess, axis=-1) if over_classes == "max" else jnp.sum(excess, axis=-1)
    return nan_unless_labelled(loss, chosen).astype(scores.dtype)


def zero_one(scores: Float[Array, "b classes"], labels: Integer[Array, " b"]) -> Float[Array, " b"]:
    r"""1 where the highest score is not the label's, else 0: its mean is the error rate.

    Args:
        scores: one score per class, higher for likelier ones; of equal ones the first counts.
        labels: one integer in [0, classes) per example.

    Returns:
        one loss per example, in scores' dtype; NaN for a label out of range.

    Raises:
        ValueError: shapes or dtypes that do not match.

    Gradient:
        0 everywhere.

    Example:
        >>> import jax.numpy as jnp
        >>> zero_one(jnp.array([[0.1, 0.9], [2.0, 1.0]]), jnp.array([1, 1]))
        Array([0., 1.], dtype=float32)

    """
    check_scores("zero_one", "scores", scores)
    check_labels("zero_one", labels, scores.shape[0])
    wrong = jnp.argmax(scores, axis=-1) != labels
    return nan_unless_labelled(wrong.astype(scores.dtype), one_hot(labels, scores.shape[-1]))


def _times_log(t: Array, log_p: Array) -> Array:
    """t log p with 0 log 0 = 0, and a finite slope there: classes masked by -inf stay out."""
    return t * jnp.where((t == 0) & (log_p == -jnp.inf), 0, log_p)


def _check_cross_entropy(
    logits: Array,
    labels: Array,
    label_smoothing: float | int,
    class_weights: Array | None,
    ignore_label: int | None,
) -> None:
    check_scores("cross_entropy", "logits", logits)
    integers = jnp.issubdtype(labels.dtype, jnp.integer) and labels.shape == logits.shape[:1]
    if not integers and (labels.shape != logits.shape or labels.dtype != logits.dtype):
        raise ValueError(
            f"cross_entropy: labels must be integers of shape ({logits.shape[0]},) or "
            f"distributions, {logits.dtype.name} {logits.shape}, "
            f"got {labels.dtype.name} {labels.shape}."
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing!r}."
        )
    if ignore_label is not None and not integers:
        raise ValueError("cross_entropy: ignore_label needs integer labels, got distributions.")
    if class_weights is None:
        return
    if class_weights.shape != logits.shape[1:] or class_weights.dtype != logits.dtype:
        raise ValueError(
            f"cross_entropy: class_weights must be {logits.dtype.name} {logits.shape[1:]}, one per "
            f"class, got {class_weights.dtype.name} {class_weights.shape}."
        )
