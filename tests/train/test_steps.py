import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from helpers import array, assert_close
from jaxcnn.losses import cross_entropy
from jaxcnn.models import create
from jaxcnn.train import create_state, evaluate, make_optimizer, predict, train_step

LABELS = np.array([0, 1, 2, 1], np.int32)


def fresh(name="tiny", optimizer=None, shape=(3, 3, 1), average=0.0, **options):
    """A state of variables that NumPy draws, so that `init` is not compiled, and images."""
    model = create(name, num_classes=3, **options)
    x = array(4, *shape)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda a: rng.uniform(-0.5, 0.5, a.shape).astype(np.float32) + (a.ndim == 1),
        jax.eval_shape(model.init, jax.random.key(0), x),
    )
    key, optimizer = jax.random.key(0), optimizer or optax.sgd(0.1)
    return create_state(model, optimizer, key, x, variables=variables, average=average), x


def test_one_step_is_the_formula():
    state, x = fresh()
    after, metrics = train_step(state, {"image": x, "label": LABELS})

    def loss(params):
        return cross_entropy(state.apply({"params": params}, x), jnp.asarray(LABELS)).mean()

    value, gradient = jax.device_get(jax.jit(jax.value_and_grad(loss))(state.params))
    assert_close(metrics["loss"], value)
    expected = jax.tree.map(lambda p, g: np.asarray(p) - 0.1 * g, state.params, gradient)
    for ours, theirs in zip(*map(jax.tree.leaves, (after.params, expected)), strict=True):
        assert_close(ours, theirs)
    assert int(after.step) == 1
    right = (np.asarray(predict(state, x)).argmax(-1) == LABELS).mean()
    assert_close(metrics["accuracy"], right)


def test_weight_zero_leaves_an_example_out():
    state, x = fresh()
    padded = np.concatenate([x, 100 * np.asarray(x)[:2]])
    weight = np.array([1, 1, 1, 1, 0, 0], np.float32)
    batch = {"image": padded, "label": np.pad(LABELS, (0, 2)), "weight": weight}
    ours, metrics = train_step(state, batch)
    theirs, expected = train_step(state, {"image": x, "label": LABELS})
    assert_close(metrics["loss"], expected["loss"])
    assert_close(ours.params["conv"]["kernel"], theirs.params["conv"]["kernel"])


def test_distributions_as_labels():
    state, x = fresh()
    ours, _ = train_step(state, {"image": x, "label": np.eye(3, dtype=np.float32)[LABELS]})
    theirs, _ = train_step(state, {"image": x, "label": LABELS})
    assert_close(ours.params["conv"]["kernel"], theirs.params["conv"]["kernel"])


def test_batch_statistics_and_dropout_keys_move_on():
    options = {"widths": (4,), "hidden": 8, "batch_norm": True, "drop_rate": 0.5}
    state, x = fresh("convnet", shape=(8, 8, 1), **options)
    batch = {"image": x, "label": LABELS}
    one, first = train_step(state, batch)
    assert not np.array_equal(
        one.batch_stats["norm1_1"]["mean"], state.batch_stats["norm1_1"]["mean"]
    )
    _, again = train_step(state, batch)
    assert first["loss"] == again["loss"]
    _, other = train_step(state.replace(step=state.step + 1), batch)
    assert first["loss"] != other["loss"]


def test_lbfgs_lowers_the_loss():
    state, x = fresh(optimizer=make_optimizer("lbfgs", 1.0))
    losses = []
    for _ in range(10):
        state, metrics = train_step(state, {"image": x, "label": LABELS})
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.1 * losses[0]


def test_evaluate_counts_every_example_once():
    state, x = fresh()
    logits = np.asarray(predict(state, x))
    batches = [
        {"image": x[:3], "label": LABELS[:3]},
        {
            "image": np.concatenate([x[3:], x[:2]]),
            "label": np.array([1, 0, 0]),
            "weight": np.array([1, 0, 0], np.float32),
        },
    ]
    found = evaluate(state, batches)
    assert_close(found.loss, cross_entropy(*map(jnp.asarray, (logits, LABELS))).mean())
    assert_close(found.accuracy, (logits.argmax(-1) == LABELS).mean())
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (LABELS, logits.argmax(-1)), 1)
    assert_close(found.confusion, expected, "exact")


def test_evaluate_needs_examples():
    state, _ = fresh()
    with pytest.raises(ValueError, match="evaluate: needs at least one example"):
        evaluate(state, [])


def test_starts_from_given_variables():
    state, x = fresh()
    params = jax.tree.map(lambda p: np.asarray(p) + 1, state.params)
    model = create("tiny", num_classes=3)
    key = jax.random.key(0)
    given = create_state(model, optax.sgd(0.1), key, x, variables={"params": params})
    assert_close(given.params["conv"]["kernel"], params["conv"]["kernel"], "exact")
    after, _ = train_step(given, {"image": x, "label": LABELS})
    assert int(after.step) == 1
    half = jax.tree.map(lambda p: p.astype(np.float16), params)  # as a file may hold them
    given = create_state(model, optax.sgd(0.1), key, x, variables={"params": half})
    assert {leaf.dtype.name for leaf in jax.tree.leaves(given.params)} == {"float32"}


class TwoHeads(nn.Module):
    """Logits, and auxiliary logits while training."""

    @nn.compact
    def __call__(self, x, train=False):
        x = x.reshape(len(x), -1)
        if train or self.is_initializing():
            self.sow("auxiliary", "side_logits", nn.Dense(3, name="side")(x))
        return nn.Dense(3, name="main")(x)


def test_auxiliary_logits_count_three_tenths():
    x = array(4, 3, 3, 1)
    model = TwoHeads()
    state = create_state(model, optax.sgd(0.1), jax.random.key(0), x)
    _, metrics = train_step(state, {"image": x, "label": LABELS})
    flat = x.reshape(4, -1)
    main, side = (
        cross_entropy(flat @ state.params[k]["kernel"], jnp.asarray(LABELS)).mean()
        for k in ("main", "side")
    )
    assert_close(metrics["loss"], main + 0.3 * side)
    assert predict(state, x).shape == (4, 3)


def test_the_average_follows_its_definition():
    """average <- d average + (1 - d) variables, d no larger than (1 + n) / (10 + n)."""
    options = {"widths": (4,), "hidden": 8, "batch_norm": True}
    state, x = fresh("convnet", shape=(8, 8, 1), average=0.25, **options)
    model = create("convnet", num_classes=3, **options)
    average = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
    for n in (1, 2, 3, 4):
        state, _ = train_step(state, {"image": x, "label": LABELS})
        d = min(0.25, (1 + n) / (10 + n))
        now = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
        average = jax.tree.map(lambda a, v, d=d: d * a + (1 - d) * v, average, now)
    for ours, theirs in zip(*map(jax.tree.leaves, (state.average, average)), strict=True):
        assert_close(ours, theirs)
    found, apply = np.asarray(predict(state, x)), jax.jit(model.apply)
    assert_close(found, apply(average, x))
    assert np.abs(found - apply(now, x)).max() > 1e-4
    with pytest.raises(ValueError, match=r"average must lie in \[0, 1\), got 1.0"):
        create_state(model, optax.sgd(0.1), jax.random.key(0), x, average=1.0)


def test_accumulated_gradients_are_those_of_the_whole_batch():
    x = array(6, 3, 3, 1)
    labels = np.array([0, 1, 2, 1, 0, 2])
    one = create_state(create("tiny"), optax.adam(0.1), jax.random.key(0), x)
    thrice = optax.MultiSteps(optax.adam(0.1), 3).gradient_transformation()
    three = create_state(create("tiny"), thrice, jax.random.key(0), x, average=0.5)
    whole, _ = train_step(one, {"image": x, "label": labels})
    before = jax.device_get(three.params)
    for i in range(3):
        assert_close(three.params["conv"]["kernel"], before["conv"]["kernel"], "exact")
        assert_close(three.average["params"]["conv"]["kernel"], before["conv"]["kernel"], "exact")
        part = slice(2 * i, 2 * i + 2)
        three, _ = train_step(three, {"image": np.asarray(x)[part], "label": labels[part]})
    assert_close(three.params["conv"]["kernel"], whole.params["conv"]["kernel"])
    d = 2 / 11  # the first update
    now = jax.device_get(three.params)
    expected = jax.tree.map(lambda a, b: d * a + (1 - d) * b, before, now)
    assert_close(three.average["params"]["conv"]["kernel"], expected["conv"]["kernel"])


def test_bfloat16_computes_in_it_and_keeps_float32():
    state, x = fresh(
        "convnet", shape=(8, 8, 1), widths=(4,), hidden=8, batch_norm=True, dtype="bfloat16"
    )
    after, metrics = train_step(state, {"image": x, "label": LABELS})
    kept = (after.params, after.batch_stats, metrics)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(kept)} == {"float32"}
    assert predict(after, x).dtype == jnp.bfloat16
    traced = str(jax.make_jaxpr(train_step)(state, {"image": x, "label": LABELS}))
    assert "bf16[4,8,8,4]" in traced
