from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, assert_finite, assert_gradients, assert_transforms
from jaxcnn.losses import bce_with_logits, cross_entropy, hinge, multiclass_hinge, structured

LABELS = jnp.array([0, 1, 2, 0, 1])


def structured_of(labels, epsilon, scores, task_loss):
    return structured(scores, labels, task_loss=task_loss, epsilon=epsilon)


def zero_one_task(classes):
    return 1 - jnp.eye(classes)


@pytest.mark.parametrize("epsilon", [0, 0.1, 1, 3.0])
def test_structured_is_the_loop(x64, epsilon):
    scores, task_loss = array(5, 3), jnp.abs(array(3, 3, seed=1))  # not symmetric
    expected = []
    for f, y in zip(np.asarray(scores), np.asarray(LABELS), strict=True):
        sums = [float(task_loss[y, c]) + f[c] for c in range(3)]
        if epsilon:
            soft = epsilon * np.log(sum(np.exp(s / epsilon) for s in sums))
        else:
            soft = max(sums)
        expected.append(soft - f[y])
    loss = structured(scores, LABELS, task_loss=task_loss, epsilon=epsilon)
    assert_close(loss, expected, "float64")


def test_without_epsilon_it_is_the_multiclass_svm(x64):
    scores, task_loss = 2 * array(5, 3), zero_one_task(3)
    machine = multiclass_hinge(scores, LABELS)
    assert (machine > 0).any()
    exact = structured(scores, LABELS, task_loss=task_loss, epsilon=0)
    assert_close(exact, machine, "float64")
    for epsilon in (1.0, 1e-1, 1e-3, 1e-8):  # the limit, and how fast it comes
        gap = structured(scores, LABELS, task_loss=task_loss, epsilon=epsilon) - exact
        assert (gap >= -1e-12).all()
        assert (gap <= epsilon * np.log(3) + 1e-12).all()
    slopes = jax.grad(lambda s: multiclass_hinge(s, LABELS).sum())(scores)
    for epsilon in (0, 1e-8):
        limit = jax.grad(
            lambda s, e=epsilon: structured(s, LABELS, task_loss=task_loss, epsilon=e).sum()
        )
        assert_close(limit(scores), slopes, "float64")


def test_without_task_loss_it_is_cross_entropy(x64):
    scores, task_loss = 2 * array(5, 3), jnp.zeros((3, 3))
    loss = structured(scores, LABELS, task_loss=task_loss, epsilon=1)
    assert_close(loss, cross_entropy(scores, LABELS), "float64")
    hot = structured(scores, LABELS, task_loss=task_loss, epsilon=4)
    assert_close(hot, 4 * cross_entropy(scores / 4, LABELS), "float64")


def test_with_two_classes_it_is_logistic_regression_and_the_binary_svm(x64):
    scores, labels = 2 * array(6, 2), jnp.array([0, 1, 1, 0, 1, 0])
    score = scores[:, 1] - scores[:, 0]
    logistic = structured(scores, labels, task_loss=jnp.zeros((2, 2)), epsilon=1)
    assert_close(logistic, bce_with_logits(score, labels.astype(score.dtype)), "float64")
    machine = structured(scores, labels, task_loss=zero_one_task(2), epsilon=0)
    assert_close(machine, hinge(score, 2 * labels - 1), "float64")


@pytest.mark.parametrize("epsilon", [0, 0.3, 1])
def test_structured_gradients_and_transforms(epsilon):
    args = (array(5, 3), array(3, 3, seed=1))
    assert_gradients(partial(structured_of, LABELS, epsilon), *args)
    assert_transforms(partial(structured_of, LABELS, epsilon), *args)
    none = structured(jnp.zeros((0, 3)), LABELS[:0], task_loss=args[1], epsilon=epsilon)
    assert none.shape == (0,)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 2.0])
def test_structured_takes_a_traced_epsilon(x64, epsilon):
    scores, task_loss = array(5, 3), jnp.abs(array(3, 3, seed=1))

    def total(scores, epsilon):
        return structured(scores, LABELS, task_loss=task_loss, epsilon=epsilon).sum()

    value, slopes = jax.jit(jax.value_and_grad(total, (0, 1)))(scores, epsilon)
    assert_close(value, total(scores, epsilon), "float64")
    assert_close(slopes[0], jax.grad(total)(scores, epsilon), "float64")
    assert jnp.isfinite(slopes[1])
    annealed = jax.vmap(lambda e: total(scores, e))(jnp.array([epsilon, 1.0]))
    assert_close(annealed, [value, total(scores, 1)], "float64")
    if epsilon:
        assert_gradients(total, scores, jnp.float64(epsilon))
    assert jnp.isnan(jax.jit(total)(scores, -1.0))


def test_structured_ties_share_the_gradient():
    scores, labels = jnp.array([[2.0, 1.0, 1.0], [0.0, 3.0, 3.0]]), jnp.array([0, 0])
    for jacobian in (jax.jacfwd, jax.jacrev):
        slopes = jacobian(
            lambda s: structured(s, labels, task_loss=zero_one_task(3), epsilon=0).sum()
        )(scores)
        assert_close(slopes, [[1 / 3 - 1, 1 / 3, 1 / 3], [-1, 0.5, 0.5]])


@pytest.mark.parametrize("epsilon", [0, 1e-30, 1, 1e3])
def test_structured_is_finite(epsilon):
    far = jnp.array([[1e4, -1e4, 0], [-1e3, 1e3, 1e3], [1e4, 1e4, 1e4], [0, 0, 0], [-1e4, 0, 1e3]])
    scores, labels = jnp.tile(far, (3, 1)), jnp.repeat(jnp.arange(3), 5)
    for cost in (0, 1, 1e4):
        task_loss = cost * zero_one_task(3)
        assert_finite(partial(structured_of, labels, epsilon), scores, task_loss)


def test_labels_out_of_range_give_nan():
    loss = structured(
        array(5, 3), jnp.array([0, -1, 3, 2, 99]), task_loss=zero_one_task(3), epsilon=1
    )
    assert_close(jnp.isnan(loss), [0, 1, 1, 0, 1], "exact")


def test_structured_errors(unchecked):
    scores, task_loss = array(5, 3), zero_one_task(3)
    options = {"task_loss": task_loss, "epsilon": 1}
    with pytest.raises(
        ValueError, match=r"structured: scores needs axes \(b, classes\), got \(3,\)"
    ):
        structured(scores[0], LABELS, **options)
    with pytest.raises(ValueError, match=r"structured: labels must be integers of shape \(5,\)"):
        structured(scores, LABELS[:2], **options)
    with pytest.raises(
        ValueError, match=r"task_loss must be float32 \(3, 3\), got float32 \(2, 2\)"
    ):
        structured(scores, LABELS, task_loss=zero_one_task(2), epsilon=1)
    with pytest.raises(ValueError, match=r"task_loss must be float32 \(3, 3\), got int32 \(3, 3\)"):
        structured(scores, LABELS, task_loss=task_loss.astype(int), epsilon=1)
    with pytest.raises(ValueError, match="structured: epsilon must not be negative, got -1"):
        structured(scores, LABELS, task_loss=task_loss, epsilon=-1)
