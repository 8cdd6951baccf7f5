from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close, assert_finite, assert_gradients, assert_transforms
from jaxcnn.losses import bce_with_logits, cross_entropy, hinge, multiclass_hinge, structured

LABELS = jnp.array([0, 1, 2, 0, 1])
EPSILONS = (0.0, 0.3, 1.0, 2.0)


def structured_of(labels, epsilon, scores, task_loss):
    return structured(scores, labels, task_loss=task_loss, epsilon=epsilon)


def zero_one_task(classes):
    return 1 - np.eye(classes, dtype=np.float32)


def structured_for(*epsilons):
    """A compiled function of scores and task loss: the losses for each of the temperatures."""
    return jax.jit(
        lambda scores, labels, task_loss: [
            structured_of(labels, epsilon, scores, task_loss) for epsilon in epsilons
        ]
    )


def test_structured_is_the_loop(x64):
    scores, task_loss = np.asarray(array(5, 3)), np.abs(array(3, 3, seed=1))  # not symmetric
    epsilons = (0, 0.1, 1, 3.0)
    losses = structured_for(*epsilons)(scores, LABELS, task_loss)
    for epsilon, loss in zip(epsilons, losses, strict=True):
        expected = []
        for f, y in zip(scores, np.asarray(LABELS), strict=True):
            sums = task_loss[y] + f
            soft = epsilon * np.log(np.exp(sums / epsilon).sum()) if epsilon else sums.max()
            expected.append(soft - f[y])
        assert_close(loss, expected, "float64", where=f"epsilon {epsilon}")


def test_without_epsilon_it_is_the_multiclass_svm(x64):
    scores, task_loss = 2 * np.asarray(array(5, 3)), zero_one_task(3).astype(float)
    epsilons = (1.0, 1e-1, 1e-3, 1e-8)  # the limit, and how fast it comes

    @jax.jit
    def losses_and_slopes(scores, task_loss):
        def total(scores, epsilon):
            loss = structured_of(LABELS, epsilon, scores, task_loss)
            return loss.sum(), loss

        def machine(scores):
            loss = multiclass_hinge(scores, LABELS)
            return loss.sum(), loss

        limits = {e: jax.grad(total, has_aux=True)(scores, e) for e in (0, *epsilons)}
        return jax.grad(machine, has_aux=True)(scores), limits

    (slopes, machine), limits = losses_and_slopes(scores, task_loss)
    assert (machine > 0).any()
    exact = np.asarray(limits[0][1])
    assert_close(exact, machine, "float64")
    for epsilon in epsilons:
        gap = limits[epsilon][1] - exact
        assert (gap >= -1e-12).all()
        assert (gap <= epsilon * np.log(3) + 1e-12).all()
    for epsilon in (0, 1e-8):
        assert_close(limits[epsilon][0], slopes, "float64")


def test_without_task_loss_it_is_cross_entropy(x64):
    scores = 2 * np.asarray(array(5, 3))
    loss, hot = structured_for(1, 4)(scores, LABELS, np.zeros((3, 3)))
    entropies = jax.jit(lambda s: (cross_entropy(s, LABELS), 4 * cross_entropy(s / 4, LABELS)))
    expected, expected_hot = entropies(scores)
    assert_close(loss, expected, "float64")
    assert_close(hot, expected_hot, "float64")


def test_with_two_classes_it_is_logistic_regression_and_the_binary_svm(x64):
    @jax.jit
    def losses(scores, labels, zeros, zero_one):
        score = scores[:, 1] - scores[:, 0]
        return (
            structured_of(labels, 1, scores, zeros),
            bce_with_logits(score, labels.astype(score.dtype)),
            structured_of(labels, 0, scores, zero_one),
            hinge(score, 2 * labels - 1),
        )

    logistic, bce, machine, binary = losses(
        2 * np.asarray(array(6, 2)), np.array([0, 1, 1, 0, 1, 0]), np.zeros((2, 2)), 1 - np.eye(2)
    )
    assert_close(logistic, bce, "float64")
    assert_close(machine, binary, "float64")


@pytest.mark.parametrize("epsilon", [0, 0.3, 1])
def test_structured_gradients_and_transforms(epsilon):
    args = (array(5, 3), array(3, 3, seed=1))
    assert_gradients(partial(structured_of, LABELS, epsilon), *args)
    assert_transforms(partial(structured_of, LABELS, epsilon), *args)


def test_structured_of_no_examples():
    none, task_loss = np.zeros((0, 3), np.float32), zero_one_task(3)
    for loss in structured_for(0, 0.3, 1)(none, np.zeros(0, int), task_loss):
        assert loss.shape == (0,)


def test_structured_takes_a_traced_epsilon(x64):
    scores, task_loss = np.asarray(array(5, 3)), np.abs(array(3, 3, seed=1))

    def total(scores, epsilon):
        loss = structured_of(LABELS, epsilon, scores, jnp.asarray(task_loss))
        return loss.sum()

    traced = jax.jit(jax.value_and_grad(total, (0, 1)))
    annealed = jax.jit(jax.vmap(total, (None, 0)))
    fixed = jax.jit(lambda scores: {e: jax.value_and_grad(total)(scores, e) for e in EPSILONS})
    known = fixed(scores)
    for epsilon in EPSILONS:
        value, slopes = traced(scores, epsilon)
        assert_close(value, known[epsilon][0], "float64")
        assert_close(slopes[0], known[epsilon][1], "float64")
        assert np.isfinite(slopes[1])
    values = [value for value, _ in known.values()]
    assert_close(annealed(scores, np.array(EPSILONS)), values, "float64")
    assert_gradients(lambda s, hot, warm: (total(s, hot), total(s, warm)), scores, 2.0, 0.3)
    assert np.isnan(traced(scores, -1.0)[0])


def test_structured_ties_share_the_gradient():
    scores, labels = np.array([[2, 1, 1], [0, 3, 3]], np.float32), np.array([0, 0])

    @jax.jit
    def slopes(scores, labels, task_loss):
        total = lambda s: structured_of(labels, 0, s, task_loss).sum()  # noqa: E731
        return jax.jacfwd(total)(scores), jax.jacrev(total)(scores)

    for found in slopes(scores, labels, zero_one_task(3)):
        assert_close(found, [[1 / 3 - 1, 1 / 3, 1 / 3], [-1, 0.5, 0.5]])


@pytest.mark.parametrize("epsilon", [0, 1e-30, 1, 1e3])
def test_structured_is_finite(epsilon):
    far = np.array([[1e4, -1e4, 0], [-1e3, 1e3, 1e3], [1e4, 1e4, 1e4], [0, 0, 0], [-1e4, 0, 1e3]])
    scores, labels = np.tile(far, (3, 1)), jnp.asarray(np.repeat(np.arange(3), 5))

    def losses(scores, *task_losses):
        return jnp.stack([structured_of(labels, epsilon, scores, cost) for cost in task_losses])

    assert_finite(losses, scores, *(cost * zero_one_task(3) for cost in (0, 1, 1e4)))


def test_labels_out_of_range_give_nan():
    labels = np.array([0, -1, 3, 2, 99])
    (loss,) = structured_for(1)(np.asarray(array(5, 3)), labels, zero_one_task(3))
    assert_close(np.isnan(loss), [0, 1, 1, 0, 1], "exact")


def test_structured_errors(unchecked):
    scores, task_loss = np.asarray(array(5, 3)), zero_one_task(3)
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
        structured(scores, LABELS, task_loss=task_loss.astype(np.int32), epsilon=1)
    with pytest.raises(ValueError, match="structured: epsilon must not be negative, got -1"):
        structured(scores, LABELS, task_loss=task_loss, epsilon=-1)
