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
    return jax.nn.softmax(array(*shape, seed=seed))


@partial(jax.jit, static_argnums=0)
def value_and_slopes(loss, x):
    """One loss per example, and the gradient of their sum."""
    losses, back = jax.vjp(loss, x)
    return losses, back(jnp.ones_like(losses))[0]


# PyTorch's case, labels, options
CROSS_ENTROPIES = [
    ("", "labels", {}),
    ("_smoothed", "labels", {"label_smoothing": 0.1}),
    ("_weighted", "labels", {"weighted": True}),
    ("_all", "labels_ignored", {"label_smoothing": 0.3, "weighted": True, "ignore_label": -100}),
    ("_distributions", "distributions", {}),
    ("_distributions_all", "distributions", {"label_smoothing": 0.3, "weighted": True}),
]


@pytest.mark.parametrize(("case", "labels", "options"), CROSS_ENTROPIES)
@pytest.mark.parametrize("double", [False, True])
def test_cross_entropy_is_pytorch(case, labels, options, double):
    with jax.enable_x64(double):
        saved = golden("losses")
        logits, labels = jnp.asarray(saved["logits"]), jnp.asarray(saved[labels])
        options = dict(options)
        if options.pop("weighted", False):
            options["class_weights"] = jnp.asarray(saved["class_weights"])
        loss, slopes = value_and_slopes(partial(cross_entropy, labels=labels, **options), logits)
        assert_close(loss, saved[f"cross_entropy{case}"], "golden")
        assert_close(slopes, saved[f"cross_entropy{case}_gradient"], "golden")


def test_cross_entropy_means_are_pytorch(x64):
    saved = golden("losses")
    logits, labels = jnp.asarray(saved["logits"]), jnp.asarray(saved["labels_ignored"])
    weights = jnp.asarray(saved["class_weights"])
    kept = labels != -100
    plain = cross_entropy(logits, labels, ignore_label=-100)
    assert_close(plain.sum() / kept.sum(), saved["cross_entropy_ignored_mean"], "golden")
    weighted = cross_entropy(logits, labels, ignore_label=-100, class_weights=weights)
    mean = weighted.sum() / jnp.where(kept, weights[labels], 0).sum()
    assert_close(mean, saved["cross_entropy_all_mean"], "golden")


@pytest.mark.parametrize("double", [False, True])
def test_nll_and_kl_divergence_are_pytorch(double):
    with jax.enable_x64(double):
        saved = {name: jnp.asarray(a) for name, a in golden("losses").items()}
        log_probs, targets = saved["log_probs"], saved["kl_targets"]
        loss, slopes = value_and_slopes(partial(nll, labels=saved["labels"]), log_probs)
        assert_close(loss, saved["nll"], "golden")
        assert_close(slopes, saved["nll_gradient"], "exact")
        loss, slopes = value_and_slopes(partial(kl_divergence, targets=targets), log_probs)
        assert_close(loss, saved["kl_div"].sum(-1), "golden")
        assert_close(slopes, saved["kl_div_gradient"], "golden")


@pytest.mark.parametrize("margin", [1.0, 0.5])
def test_multiclass_hinge_is_pytorch(x64, margin):
    saved = {name: jnp.asarray(a) for name, a in golden("losses").items()}

    def ours(scores):  # PyTorch divides by the number of classes
        options = {"margin": margin, "over_classes": "sum"}
        return multiclass_hinge(scores, saved["labels"], **options) / 5

    loss, slopes = value_and_slopes(ours, saved["logits"])
    assert_close(loss, saved[f"multi_margin_{margin}"], "golden")
    assert_close(slopes, saved[f"multi_margin_{margin}_gradient"], "golden")


def test_classification_is_optax(x64):
    logits, labels, targets = 3 * array(5, 3), LABELS, distributions(5, 3)
    reference = optax.losses
    expected = reference.softmax_cross_entropy_with_integer_labels(logits, labels)
    assert_close(cross_entropy(logits, labels), expected, "float64")
    expected = reference.softmax_cross_entropy(logits, targets)
    assert_close(cross_entropy(logits, targets), expected, "float64")
    smooth = reference.smooth_labels(targets, 0.2)
    expected = reference.softmax_cross_entropy(logits, smooth)
    assert_close(cross_entropy(logits, targets, label_smoothing=0.2), expected, "float64")
    log_probs = jax.nn.log_softmax(logits)
    expected = reference.kl_divergence(log_probs, targets)
    assert_close(kl_divergence(log_probs, targets), expected, "float64")
    expected = reference.multiclass_hinge_loss(logits, labels)
    assert_close(multiclass_hinge(logits, labels), expected, "float64")


def test_multiclass_hinge_is_the_loop(x64):
    scores, labels = np.asarray(array(5, 3)), np.asarray(LABELS)
    terms = [
        [max(0, 0.7 + s[c] - s[y]) for c in range(3) if c != y]
        for s, y in zip(scores, labels, strict=True)
    ]
    args = (jnp.asarray(scores), LABELS)
    worst = multiclass_hinge(*args, margin=0.7)
    assert_close(worst, [max(t) for t in terms], "float64")
    total = multiclass_hinge(*args, margin=0.7, over_classes="sum")
    assert_close(total, [sum(t) for t in terms], "float64")
    assert_close(multiclass_hinge(*(a[:, :1] if a.ndim == 2 else 0 * a for a in args)), np.zeros(5))


def test_multiclass_hinge_kinks():
    scores, labels = jnp.array([[2.0, 1.0, 0.0], [0.0, 3.0, 3.0]]), jnp.array([0, 0])
    for jacobian in (jax.jacfwd, jax.jacrev):
        slopes = jax.jit(jacobian(lambda s: multiclass_hinge(s, labels).sum()))(scores)
        assert_close(slopes, [[0, 0, 0], [-1, 0.5, 0.5]], "exact")


def test_zero_one_is_the_loop():
    scores = jnp.array([[1.0, 2.0, 0.0], [3.0, 3.0, 0.0], [3.0, 3.0, 0.0]])
    assert_close(zero_one(scores, jnp.array([1, 0, 1])), [0, 0, 1], "exact")
    slopes = jax.jacrev(lambda s: zero_one(s, jnp.array([1, 0, 1])))(scores)
    assert_close(slopes, np.zeros((3, 3, 3)), "exact")
    assert zero_one(scores.astype(jnp.bfloat16), jnp.array([1, 0, 1])).dtype == jnp.bfloat16


def test_cross_entropy_laws(x64):
    logits, labels, targets = array(5, 3), LABELS, distributions(5, 3)
    log_probs = jax.nn.log_softmax(logits)
    loss = cross_entropy(logits, labels)
    assert_close(cross_entropy(logits + 100, labels), loss, "float64")
    assert_close(cross_entropy(logits, jax.nn.one_hot(labels, 3)), loss, "float64")
    assert_close(nll(log_probs, labels), loss, "float64")
    entropy = -jnp.sum(targets * jnp.log(targets), axis=-1)
    expected = kl_divergence(log_probs, targets) + entropy
    assert_close(cross_entropy(logits, targets), expected, "float64")
    assert_close(1 + kl_divergence(jnp.log(targets), targets), np.ones(5), "float64")
    slopes = jax.jacrev(lambda z: cross_entropy(z, labels).sum())(logits)
    assert_close(slopes, jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3), "float64")


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, t: cross_entropy(z, t),
        lambda z, w: cross_entropy(z, LABELS, class_weights=w[0], label_smoothing=0.2),
        lambda z, _: nll(z, LABELS),
        lambda z, t: kl_divergence(z, t),
        lambda z, _: multiclass_hinge(z, LABELS),
        lambda z, _: multiclass_hinge(z, LABELS, margin=2, over_classes="sum"),
    ],
)
def test_classification_gradients_and_transforms(loss):
    args = (array(5, 3), distributions(5, 3))
    assert_gradients(loss, *args)
    assert_transforms(loss, *args)


def test_no_examples():
    none, labels = jnp.zeros((0, 3)), jnp.zeros(0, int)
    for loss in (cross_entropy, nll, multiclass_hinge, zero_one):
        assert loss(none, labels).shape == (0,)


def test_classification_is_finite():
    far, labels = jnp.tile(FAR, (3, 1)), jnp.repeat(jnp.arange(3), 5)
    weights = jnp.array([0.0, 1.0, 2.0])
    assert_finite(lambda z: cross_entropy(z, labels), far)
    assert_finite(
        lambda z, w: cross_entropy(z, labels, class_weights=w, label_smoothing=0.1), far, weights
    )
    assert_finite(lambda z: nll(z, labels), far)
    assert_finite(lambda z: multiclass_hinge(z, labels), far)
    assert_finite(lambda z: multiclass_hinge(z, labels, over_classes="sum"), far)
    assert_finite(cross_entropy, far, jax.nn.one_hot(labels, 3))
    assert_finite(kl_divergence, far, jax.nn.one_hot(labels, 3))


def test_classes_masked_by_infinity():
    logits = jnp.array([[0.0, 0.0, -jnp.inf]])
    args = (logits, jnp.array([[1.0, 0.0, 0.0]]))
    for jacobian in (jax.jacfwd, jax.jacrev):
        slopes, of_targets = jax.jit(jacobian(cross_entropy, (0, 1)))(*args)
        assert_close(slopes, [[[-0.5, 0.5, 0]]])
        assert jnp.isfinite(of_targets).all()
        slopes = jax.jit(jacobian(cross_entropy))(logits, jnp.array([0]))
        assert_close(slopes, [[[-0.5, 0.5, 0]]])
    assert_close(cross_entropy(*args), np.log([2.0]))
    assert_close(kl_divergence(jax.nn.log_softmax(logits), args[1]), np.log([2.0]))
    assert cross_entropy(logits, jnp.array([2]))[0] == jnp.inf
    assert kl_divergence(logits, jnp.array([[0.0, 0.5, 0.5]]))[0] == jnp.inf


def test_ignored_examples_count_for_nothing():
    logits = jnp.array([[1.0, 2.0], [jnp.nan, jnp.inf], [0.5, 0.0]])
    kept = cross_entropy(logits[::2], jnp.array([1, 0]))
    for ignore, dtype in ((-100, jnp.int32), (255, jnp.uint8)):
        labels = jnp.array([1, ignore, 0], dtype)
        loss = partial(cross_entropy, labels=labels, ignore_label=ignore)
        found = loss(logits)
        assert_close(found[::2], kept)
        assert found[1] == 0
        for jacobian in (jax.jacfwd, jax.jacrev):
            slopes = jax.jit(jacobian(loss))(logits)
            assert_close(slopes[1], np.zeros((3, 2)), "exact")
            assert_close(slopes[:, 1], np.zeros((3, 2)), "exact")
            assert jnp.isfinite(slopes).all()
    within = cross_entropy(logits, jnp.array([1, 0, 0]), ignore_label=0)
    assert_close(within[:1], cross_entropy(logits[:1], jnp.array([1])))
    assert not within[1:].any()
    # -100 as a byte is 156, which an unsigned label may be.
    unsigned = cross_entropy(logits, jnp.array([1, 0, 156], jnp.uint8), ignore_label=-100)
    assert_close(unsigned[::2], [kept[0], np.nan])


@pytest.mark.parametrize("loss", [cross_entropy, nll, multiclass_hinge, zero_one])
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8])
def test_labels_out_of_range_give_nan(loss, dtype):
    scores = array(4, 3)
    signed = jnp.issubdtype(dtype, jnp.signedinteger)
    labels = jnp.array([2, -1 if signed else 9, 3, 100], dtype)
    found, slopes = value_and_slopes(partial(loss, labels=labels), scores)
    assert_close(found[0], loss(scores[:1], labels[:1])[0])
    assert jnp.isnan(found[1:]).all()
    if loss is not zero_one:
        assert jnp.isfinite(slopes[0]).all()
        assert jnp.isnan(slopes[1:]).any(axis=-1).all()


def test_sums_of_bfloat16_are_float32():
    logits = jnp.zeros((1, 1000), jnp.bfloat16)
    assert_close(cross_entropy(logits, jnp.array([3])), np.log([1000.0]), "bfloat16")
    hinges = multiclass_hinge(logits, jnp.array([3]), over_classes="sum")
    assert hinges == jnp.bfloat16(999)
    loss = kl_divergence(jnp.log(jnp.full_like(logits, 1e-3)), jnp.full_like(logits, 2e-3))
    assert_close(loss, [2 * np.log(2)], "bfloat16")


@pytest.mark.parametrize("loss", [cross_entropy, nll, multiclass_hinge, zero_one])
def test_label_errors(loss, unchecked):
    name = loss.__name__
    scores, labels = array(4, 3), jnp.array([0, 1, 2, 0])
    with pytest.raises(ValueError, match=rf"{name}: \w+ needs? axes \(b, classes\), got \(3,\)"):
        loss(scores[0], labels)
    remedy = r"add a batch axis, or reshape pixels to \(b \* h \* w, classes\)"
    with pytest.raises(ValueError, match=rf"{name}: .* got \(3,\): {remedy}"):
        jax.vmap(loss)(scores, labels)
    with pytest.raises(ValueError, match=rf"{name}: .* got \(1, 2, 2, 3\): {remedy}"):
        loss(scores.reshape(1, 2, 2, 3), labels.reshape(1, 2, 2))
    with pytest.raises(ValueError, match=rf"{name}: \w+ must be floating point, got int32"):
        loss(scores.astype(int), labels)
    wrong = rf"{name}: labels must be integers of shape \(4,\).*, got"
    for bad in (labels[:3], labels[:, None], labels.astype(float), labels > 0):
        with pytest.raises(ValueError, match=f"{wrong} {bad.dtype}"):
            loss(scores, bad)


def test_cross_entropy_errors(unchecked):
    logits, labels = array(4, 3), jnp.array([0, 1, 2, 0])
    with pytest.raises(ValueError, match=r"distributions, float32 \(4, 3\), got bfloat16 \(4, 3\)"):
        cross_entropy(logits, distributions(4, 3).astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\], got 1.5"):
        cross_entropy(logits, labels, label_smoothing=1.5)
    with pytest.raises(
        ValueError, match=r"class_weights must be float32 \(3,\), .* float32 \(4,\)"
    ):
        cross_entropy(logits, labels, class_weights=jnp.ones(4))
    with pytest.raises(ValueError, match=r"class_weights must be float32 \(3,\), .* int32 \(3,\)"):
        cross_entropy(logits, labels, class_weights=jnp.ones(3, int))
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
        kl_divergence(array(4, 3), array(4, 3).astype(jnp.bfloat16))


def test_multiclass_hinge_errors(unchecked):
    with pytest.raises(ValueError, match='over_classes must be "max" or "sum", got \'mean\''):
        multiclass_hinge(array(5, 3), LABELS, over_classes="mean")
