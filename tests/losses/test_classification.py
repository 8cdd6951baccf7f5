from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import (
    array,
    assert_close,
    assert_finite,
    assert_gradients,
    assert_transforms,
    golden,
)
from jaxcnn.losses import cross_entropy, kl_divergence, multiclass_hinge, nll, zero_one

FAR = np.array([[1e4, -1e4, 0], [-1e3, 1e3, 1e3], [1e4, 1e4, 1e4], [-1e4, 0, 1e3], [0, 0, 0]])
LABELS = jnp.array([0, 1, 2, 0, 1])


def distributions(*shape, seed=1):
    raised = np.exp(array(*shape, seed=seed))
    return jnp.asarray(raised / raised.sum(-1, keepdims=True))


def value_and_slopes(loss, x):
    """One loss per example, and the gradient of their sum."""
    losses, back = jax.vjp(loss, x)
    return losses, back(jnp.ones_like(losses))[0]


@jax.jit
def cross_entropies(saved):
    """The losses and slopes of PyTorch's cases, by the case's name."""
    labels, distributions = saved["labels"], saved["distributions"]
    smoothed, weighted = {"label_smoothing": 0.3}, {"class_weights": saved["class_weights"]}
    cases = {
        "": (labels, {}),
        "_smoothed": (labels, {"label_smoothing": 0.1}),
        "_weighted": (labels, weighted),
        "_all": (saved["labels_ignored"], {**smoothed, **weighted, "ignore_label": -100}),
        "_distributions": (distributions, {}),
        "_distributions_all": (distributions, {**smoothed, **weighted}),
    }
    return {
        case: value_and_slopes(partial(cross_entropy, labels=labels, **options), saved["logits"])
        for case, (labels, options) in cases.items()
    }


@pytest.mark.parametrize("double", [False, True])
def test_cross_entropy_is_pytorch(double):
    saved = golden("losses")
    with jax.enable_x64(double):
        found = cross_entropies(saved)
    assert len(found) == 6
    for case, (loss, slopes) in found.items():
        assert loss.dtype == (jnp.float64 if double else jnp.float32)
        assert_close(loss, saved[f"cross_entropy{case}"], "golden", where=case)
        assert_close(slopes, saved[f"cross_entropy{case}_gradient"], "golden", where=case)


def test_cross_entropy_means_are_pytorch(x64):
    saved = golden("losses")
    labels, weights = saved["labels_ignored"], saved["class_weights"]
    kept = labels != -100

    @jax.jit
    def losses(logits, labels, weights):
        loss = partial(cross_entropy, logits, labels, ignore_label=-100)
        return loss(), loss(class_weights=weights)

    plain, weighted = losses(saved["logits"], labels, weights)
    assert_close(np.sum(plain) / kept.sum(), saved["cross_entropy_ignored_mean"], "golden")
    mean = np.sum(weighted) / weights[labels[kept]].sum()
    assert_close(mean, saved["cross_entropy_all_mean"], "golden")


@pytest.mark.parametrize("double", [False, True])
def test_nll_and_kl_divergence_are_pytorch(double):
    saved = golden("losses")

    @jax.jit
    def both(log_probs, labels, targets):
        return (
            value_and_slopes(partial(nll, labels=labels), log_probs),
            value_and_slopes(partial(kl_divergence, targets=targets), log_probs),
        )

    with jax.enable_x64(double):
        found = both(saved["log_probs"], saved["labels"], saved["kl_targets"])
    (loss, slopes), (divergence, slopes_of_divergence) = found
    assert_close(loss, saved["nll"], "golden")
    assert_close(slopes, saved["nll_gradient"], "exact")
    assert_close(divergence, saved["kl_div"].sum(-1), "golden")
    assert_close(slopes_of_divergence, saved["kl_div_gradient"], "golden")


def test_multiclass_hinge_is_pytorch(x64):
    saved = golden("losses")

    @jax.jit
    def ours(scores, labels):  # PyTorch divides by the number of classes
        def loss(scores, margin):
            return multiclass_hinge(scores, labels, margin=margin, over_classes="sum") / 5

        return {m: value_and_slopes(partial(loss, margin=m), scores) for m in (1.0, 0.5)}

    for margin, (loss, slopes) in ours(saved["logits"], saved["labels"]).items():
        assert_close(loss, saved[f"multi_margin_{margin}"], "golden")
        assert_close(slopes, saved[f"multi_margin_{margin}_gradient"], "golden")


def test_classification_is_optax(x64):
    @jax.jit
    def ours_and_theirs(logits, labels, targets):
        log_probs, optaxs = jax.nn.log_softmax(logits), optax.losses
        ours = [
            cross_entropy(logits, labels),
            cross_entropy(logits, targets),
            cross_entropy(logits, targets, label_smoothing=0.2),
            kl_divergence(log_probs, targets),
            multiclass_hinge(logits, labels),
        ]
        theirs = [
            optaxs.softmax_cross_entropy_with_integer_labels(logits, labels),
            optaxs.softmax_cross_entropy(logits, targets),
            optaxs.softmax_cross_entropy(logits, optaxs.smooth_labels(targets, 0.2)),
            optaxs.kl_divergence(log_probs, targets),
            optaxs.multiclass_hinge_loss(logits, labels),
        ]
        return ours, theirs

    found = ours_and_theirs(3 * np.asarray(array(5, 3)), LABELS, distributions(5, 3))
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, "float64")


def test_multiclass_hinge_is_the_loop(x64):
    scores, labels = np.asarray(array(5, 3)), np.asarray(LABELS)
    terms = [
        [max(0, 0.7 + s[c] - s[y]) for c in range(3) if c != y]
        for s, y in zip(scores, labels, strict=True)
    ]

    @jax.jit
    def hinges(scores, labels):
        return (
            multiclass_hinge(scores, labels, margin=0.7),
            multiclass_hinge(scores, labels, margin=0.7, over_classes="sum"),
            multiclass_hinge(scores[:, :1], 0 * labels),
        )

    worst, total, single = hinges(scores, labels)
    assert_close(worst, [max(t) for t in terms], "float64")
    assert_close(total, [sum(t) for t in terms], "float64")
    assert_close(single, np.zeros(5))


def test_multiclass_hinge_kinks():
    scores, labels = np.array([[2, 1, 0], [0, 3, 3]], np.float32), jnp.array([0, 0])

    def total(scores):
        return multiclass_hinge(scores, labels).sum()

    for slopes in jax.jit(lambda s: (jax.jacfwd(total)(s), jax.jacrev(total)(s)))(scores):
        assert_close(slopes, [[0, 0, 0], [-1, 0.5, 0.5]], "exact")


def test_zero_one_is_the_loop():
    scores = np.array([[1, 2, 0], [3, 3, 0], [3, 3, 0]], np.float32)

    @jax.jit
    def errors(scores, labels):
        slopes = jax.jacrev(zero_one)(scores, labels)
        return zero_one(scores, labels), slopes, zero_one(scores.astype(jnp.bfloat16), labels)

    wrong, slopes, low = errors(scores, np.array([1, 0, 1]))
    assert_close(wrong, [0, 0, 1], "exact")
    assert_close(slopes, np.zeros((3, 3, 3)), "exact")
    assert low.dtype == jnp.bfloat16
    assert_close(low, [0, 0, 1], "exact")


def test_cross_entropy_laws(x64):
    logits, targets = np.asarray(array(5, 3)), np.asarray(distributions(5, 3))
    one_hot = np.eye(3)[np.asarray(LABELS)]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    entropy = -np.sum(targets * np.log(targets), axis=-1)

    @jax.jit
    def losses(logits, labels, targets, one_hot, log_probs):
        loss, slopes = value_and_slopes(partial(cross_entropy, labels=labels), logits)
        same = {
            "shifted": cross_entropy(logits + 100, labels),
            "distributions": cross_entropy(logits, one_hot),
            "nll": nll(log_probs, labels),
        }
        divergence = kl_divergence(log_probs, targets)
        nothing = kl_divergence(jnp.log(targets), targets)
        return loss, slopes, same, cross_entropy(logits, targets), divergence, nothing

    found = losses(logits, LABELS, targets, one_hot, log_probs)
    loss, slopes, same, of_targets, divergence, nothing = found
    for name, other in same.items():
        assert_close(other, loss, "float64", where=name)
    assert_close(of_targets, divergence + entropy, "float64")
    assert_close(1 + np.asarray(nothing), np.ones(5), "float64")
    assert_close(slopes, np.exp(log_probs) - one_hot, "float64")


def every_loss(z, t):
    return (
        cross_entropy(z, t),
        cross_entropy(z, LABELS, class_weights=t[0], label_smoothing=0.2),
        nll(z, LABELS),
        kl_divergence(z, t),
        multiclass_hinge(z, LABELS),
        multiclass_hinge(z, LABELS, margin=2, over_classes="sum"),
    )


def test_classification_gradients_and_transforms():
    args = (array(5, 3), distributions(5, 3))
    assert_gradients(every_loss, *args)
    assert_transforms(lambda *args: jnp.stack(every_loss(*args)), *args)


def test_no_examples():
    for loss in (cross_entropy, nll, multiclass_hinge, zero_one):
        assert jax.jit(loss)(np.zeros((0, 3), np.float32), np.zeros(0, int)).shape == (0,)


def test_classification_is_finite():
    far, labels = np.tile(FAR, (3, 1)), jnp.asarray(np.repeat(np.arange(3), 5))

    def losses(z, t, w):
        return jnp.stack(
            [
                cross_entropy(z, labels),
                cross_entropy(z, labels, class_weights=w, label_smoothing=0.1),
                nll(z, labels),
                multiclass_hinge(z, labels),
                multiclass_hinge(z, labels, over_classes="sum"),
                cross_entropy(z, t),
                kl_divergence(z, t),
            ]
        )

    assert_finite(losses, far, np.eye(3)[np.asarray(labels)], np.array([0.0, 1.0, 2.0]))


def test_classes_masked_by_infinity():
    logits, targets = np.array([[0, 0, -np.inf]], np.float32), np.eye(1, 3, dtype=np.float32)

    @jax.jit
    def losses_and_slopes(logits, targets):
        log_probs, beyond = jax.nn.log_softmax(logits), jnp.array([[0.0, 0.5, 0.5]])
        finite = cross_entropy(logits, targets), kl_divergence(log_probs, targets)
        infinite = cross_entropy(logits, jnp.array([2])), kl_divergence(logits, beyond)
        jacobians = jax.jacfwd, jax.jacrev
        with_labels = [j(cross_entropy)(logits, jnp.array([0])) for j in jacobians]
        with_targets = [j(cross_entropy, (0, 1))(logits, targets) for j in jacobians]
        return finite, infinite, with_labels, with_targets

    finite, infinite, with_labels, with_targets = losses_and_slopes(logits, targets)
    for loss in finite:
        assert_close(loss, np.log([2.0]))
    for loss in infinite:
        assert_close(loss, [np.inf], "exact")
    for slopes in with_labels:
        assert_close(slopes, [[[-0.5, 0.5, 0]]])
    for slopes, of_targets in with_targets:
        assert_close(slopes, [[[-0.5, 0.5, 0]]])
        assert np.isfinite(of_targets).all()


def test_ignored_examples_count_for_nothing():
    logits = np.array([[1, 2], [np.nan, np.inf], [0.5, 0]], np.float32)

    @jax.jit
    def kept_alone(logits):
        return cross_entropy(logits, jnp.array([1, 0]))

    @partial(jax.jit, static_argnames="ignore_label")
    def loss_and_slopes(logits, labels, ignore_label):
        loss = partial(cross_entropy, labels=labels, ignore_label=ignore_label)
        return loss(logits), jax.jacfwd(loss)(logits), jax.jacrev(loss)(logits)

    kept = kept_alone(logits[::2])
    for ignore, dtype in ((-100, np.int32), (255, np.uint8)):
        found, *jacobians = loss_and_slopes(logits, np.array([1, ignore, 0], dtype), ignore)
        assert_close(found[::2], kept)
        assert found[1] == 0
        for slopes in map(np.asarray, jacobians):
            assert_close(slopes[1], np.zeros((3, 2)), "exact")
            assert_close(slopes[:, 1], np.zeros((3, 2)), "exact")
            assert np.isfinite(slopes).all()
    within, *_ = loss_and_slopes(logits, np.array([1, 0, 0], np.int32), 0)
    assert_close(within[:1], kept[:1])
    assert not np.any(within[1:])
    # -100 as a byte is 156, which an unsigned label may be.
    unsigned, *_ = loss_and_slopes(logits, np.array([1, 0, 156], np.uint8), -100)
    assert_close(unsigned[::2], [kept[0], np.nan])


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_labels_out_of_range_give_nan(dtype):
    scores = np.asarray(array(4, 3))
    signed = np.issubdtype(dtype, np.signedinteger)
    labels = np.array([2, -1 if signed else 9, 3, 100], dtype)

    @jax.jit
    def every(scores, labels):
        return {
            loss.__name__: (
                *value_and_slopes(partial(loss, labels=labels), scores),
                loss(scores[:1], labels[:1]),
            )
            for loss in (cross_entropy, nll, multiclass_hinge, zero_one)
        }

    for name, (found, slopes, alone) in every(scores, labels).items():
        assert_close(found[0], alone[0], where=name)
        assert np.isnan(found[1:]).all(), name
        if name != "zero_one":
            assert np.isfinite(slopes[0]).all(), name
            assert np.isnan(slopes[1:]).any(axis=-1).all(), name


def test_sums_of_bfloat16_are_float32():
    @jax.jit
    def sums(logits, small):
        return (
            cross_entropy(logits, jnp.array([3])),
            multiclass_hinge(logits, jnp.array([3]), over_classes="sum"),
            kl_divergence(jnp.log(small), 2 * small),
        )

    logits = np.zeros((1, 1000), jnp.bfloat16)
    entropy, hinges, divergence = sums(logits, np.full_like(logits, 1e-3))
    assert_close(entropy, np.log([1000.0]), "bfloat16")
    assert hinges.dtype == jnp.bfloat16
    assert_close(hinges, np.asarray([999], jnp.bfloat16), "exact")
    assert_close(divergence, [2 * np.log(2)], "bfloat16")


@pytest.mark.parametrize("loss", [cross_entropy, nll, multiclass_hinge, zero_one])
def test_label_errors(loss, unchecked):
    name = loss.__name__
    scores, labels = np.asarray(array(4, 3)), np.array([0, 1, 2, 0], np.int32)
    with pytest.raises(ValueError, match=rf"{name}: \w+ needs? axes \(b, classes\), got \(3,\)"):
        loss(scores[0], labels)
    remedy = r"add a batch axis, or reshape pixels to \(b \* h \* w, classes\)"
    with pytest.raises(ValueError, match=rf"{name}: .* got \(3,\): {remedy}"):
        jax.vmap(loss)(scores, labels)
    with pytest.raises(ValueError, match=rf"{name}: .* got \(1, 2, 2, 3\): {remedy}"):
        loss(scores.reshape(1, 2, 2, 3), labels.reshape(1, 2, 2))
    with pytest.raises(ValueError, match=rf"{name}: \w+ must be floating point, got int32"):
        loss(scores.astype(np.int32), labels)
    wrong = rf"{name}: labels must be integers of shape \(4,\).*, got"
    for bad in (labels[:3], labels[:, None], labels.astype(float), labels > 0):
        with pytest.raises(ValueError, match=f"{wrong} {bad.dtype}"):
            loss(scores, bad)


def test_cross_entropy_errors(unchecked):
    logits, labels = array(4, 3), jnp.array([0, 1, 2, 0])
    with pytest.raises(ValueError, match=r"distributions, float32 \(4, 3\), got bfloat16 \(4, 3\)"):
        cross_entropy(logits, np.asarray(distributions(4, 3), jnp.bfloat16))
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\], got 1.5"):
        cross_entropy(logits, labels, label_smoothing=1.5)
    with pytest.raises(
        ValueError, match=r"class_weights must be float32 \(3,\), .* float32 \(4,\)"
    ):
        cross_entropy(logits, labels, class_weights=np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"class_weights must be float32 \(3,\), .* int32 \(3,\)"):
        cross_entropy(logits, labels, class_weights=np.ones(3, np.int32))
    with pytest.raises(ValueError, match="ignore_label needs integer labels, got distributions"):
        cross_entropy(logits, distributions(4, 3), ignore_label=0)


def test_kl_divergence_errors(unchecked):
    with pytest.raises(
        ValueError, match=r"kl_divergence: log_probs needs axes \(b, classes\), got"
    ):
        kl_divergence(array(3), array(3))
    with pytest.raises(ValueError, match="kl_divergence: log_probs and targets need one shape"):
        kl_divergence(array(4, 3), array(4, 2))
    with pytest.raises(ValueError, match="log_probs and targets need one dtype, got"):
        kl_divergence(array(4, 3), np.asarray(array(4, 3), jnp.bfloat16))


def test_multiclass_hinge_errors(unchecked):
    with pytest.raises(ValueError, match='over_classes must be "max" or "sum", got \'mean\''):
        multiclass_hinge(array(5, 3), LABELS, over_classes="mean")
