"""One training step and one evaluation, pure and jitted; a researcher can use them alone."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from jax import Array
from jaxtyping import PRNGKeyArray

from jaxcnn.losses import cross_entropy

Batch = Mapping[str, Any]
Loss = Callable[[Array, Array], Array]
AUXILIARY = 0.3  # weight of each auxiliary head's loss: Szegedy et al. (2015), section 5


class State(struct.PyTreeNode):
    """All that changes in training, and (static) the functions that change it.

    Any, because JAX also builds states of what describes their arrays (shapes, shardings).
    """

    step: Any  # int32
    params: Any
    batch_stats: Any
    opt_state: Any
    key: Any  # of dropout; step t uses fold_in(key, t)
    average: Any  # of the variables over the steps, None where none is kept
    apply: Callable[..., Any] = struct.field(pytree_node=False)
    optimizer: optax.GradientTransformationExtraArgs = struct.field(pytree_node=False)
    loss: Loss = struct.field(pytree_node=False)
    decay: float = struct.field(pytree_node=False)  # of that average

    @property
    def variables(self) -> dict[str, Any]:
        """What the model is evaluated with: the average, where one is kept."""
        own = {"params": self.params, "batch_stats": self.batch_stats}
        return own if self.average is None else self.average


class Evaluation(NamedTuple):
    """Means over the examples, and how many of each true class got each predicted one."""

    loss: float  # nats, for the default loss
    accuracy: float
    confusion: np.ndarray  # true class, predicted class


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    key: PRNGKeyArray,
    x: Array | jax.ShapeDtypeStruct,
    *,
    loss: Loss = cross_entropy,
    variables: Any = None,
    average: float = 0.0,
) -> State:
    """A fresh training state.

    Args:
        model: a Linen module with `__call__(x, train)` -> logits.
        optimizer: any Optax transformation.
        key: parameters are drawn from it; dropout's keys are split off.
        x: images of the shape that the model will see, b h w c; only the shape counts.
        loss: (logits, labels) -> one loss per example.
        variables: the parameters and batch statistics to start from, such as
            `jaxcnn.weights.load` gives, in float32 at least; by default they are drawn.
        average: the decay d of an exponential moving average of parameters and batch statistics,
            average <- d average + (1 - d) variables after each update of the optimizer, which
            evaluation then uses; in the first updates, d is (1 + n) / (10 + n) where that is less.
            0 keeps none.

    Raises:
        ValueError: a decay outside [0, 1).
    """
    if not 0 <= average < 1:
        raise ValueError(f"create_state: average must lie in [0, 1), got {average}.")
    init_key, dropout_key = jax.random.split(key)
    if variables is None:
        variables = jax.jit(model.init)(init_key, jnp.zeros((1, *x.shape[1:]), x.dtype))
    variables = jax.tree.map(
        lambda v: jnp.asarray(v, jnp.promote_types(v.dtype, jnp.float32)), variables
    )
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        key=dropout_key,
        average={"params": params, "batch_stats": batch_stats} if average else None,
        apply=model.apply,
        optimizer=optax.with_extra_args_support(optimizer),
        loss=loss,
        decay=average,
    )


@jax.jit
def train_step(state: State, batch: Batch) -> tuple[State, dict[str, Array]]:
    """One step of the optimizer on the mean loss of a batch.

    Args:
        state: of `create_state` or the step before.
        batch: "image" (b h w c), "label" (integers b or distributions b classes) and, optionally,
            "weight" (b; 0 leaves an example out of the mean).

    Returns:
        the next state, and "loss" and "accuracy" (means under the parameters before the step) with
        "count", the sum of weights. Auxiliary logits, which a model sows into the collection
        "auxiliary", add 0.3 times their loss each.
    """
    key = jax.random.fold_in(state.key, state.step)
    weight = _weight(batch)

    def mean_over_batch(logits: Array) -> Array:
        return _mean(state.loss(logits.astype(jnp.float32), batch["label"]), weight)

    def mean_loss(params: Any) -> tuple[Array, tuple[Array, Any]]:
        logits, updated = state.apply(
            {"params": params, "batch_stats": state.batch_stats},
            batch["image"],
            train=True,
            mutable=["batch_stats", "auxiliary"],
            rngs={"dropout": key},
        )
        loss = mean_over_batch(logits)
        for auxiliary in jax.tree.leaves(updated.get("auxiliary", {})):
            loss += AUXILIARY * mean_over_batch(auxiliary)
        return loss, (logits, updated)

    (loss, (logits, updated)), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    updates, opt_state = state.optimizer.update(
        gradient,
        state.opt_state,
        state.params,
        value=loss,
        grad=gradient,
        value_fn=lambda params: mean_loss(params)[0],
    )
    metrics = {
        "loss": loss,
        "accuracy": _mean(_correct(logits, batch["label"]), weight),
        "count": weight.sum(),
    }
    state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=updated.get("batch_stats", {}),
        opt_state=opt_state,
    )
    return state.replace(average=_averaged(state)), metrics


def _averaged(state: State) -> Any:
    """The moving average after a step; where gradients accumulate, steps without update leave it.

    The slow start is that of TensorFlow's ExponentialMovingAverage (num_updates).
    """
    if state.average is None:
        return None
    updates, updated = state.step, jnp.asarray(True)
    if isinstance(state.opt_state, optax.MultiStepsState):
        updates, updated = state.opt_state.gradient_step, state.opt_state.mini_step == 0
    decay = jnp.minimum(state.decay, (1 + updates) / (10 + updates))
    now = {"params": state.params, "batch_stats": state.batch_stats}
    return jax.tree.map(
        lambda a, v: jnp.where(updated, decay * a + (1 - decay) * v, a), state.average, now
    )


@jax.jit
def predict(state: State, x: Array) -> Array:
    """Logits of images b h w c, in evaluation mode."""
    return state.apply(state.variables, x, train=False)


def evaluate(
    state: State, batches: Iterable[Batch], *, prepare: Callable[[Any], Any] = jnp.asarray
) -> Evaluation:
    """Mean loss, accuracy and confusion counts over batches, in evaluation mode.

    Args:
        state: whose parameters and batch statistics are used.
        batches: as for `train_step`, with integer labels; examples of weight 0 do not count.
        prepare: makes a batch's images what the model takes; runs jitted.

    Raises:
        ValueError: no examples.
    """
    totals: Any = None
    for batch in batches:
        sums = _evaluate_batch(state, batch, prepare)
        totals = sums if totals is None else _add(totals, sums)
    if totals is None or not float(totals["count"]):
        raise ValueError("evaluate: needs at least one example of positive weight, got none.")
    count = float(totals["count"])
    return Evaluation(
        loss=float(totals["loss"]) / count,
        accuracy=float(totals["correct"]) / count,
        confusion=np.asarray(totals["confusion"], np.int64),
    )


@jax.jit
def _add(a: Any, b: Any) -> Any:
    """On the device: no batch waits for the host."""
    return jax.tree.map(jnp.add, a, b)


@partial(jax.jit, static_argnums=2)
def _evaluate_batch(state: State, batch: Batch, prepare: Callable[[Any], Any]) -> dict[str, Array]:
    logits = predict(state, prepare(batch["image"])).astype(jnp.float32)
    weight, label = _weight(batch), batch["label"]
    classes = logits.shape[-1]
    # An example of weight 0 may hold any label: its loss must not enter, NaN least of all.
    losses = jnp.where(weight > 0, weight * state.loss(logits, label), 0)
    counts = jnp.zeros((classes, classes), jnp.float32)
    return {
        "loss": losses.sum(),
        "correct": (weight * _correct(logits, label)).sum(),
        "count": weight.sum(),
        "confusion": counts.at[label, logits.argmax(-1)].add(jnp.where(weight > 0, 1, 0)),
    }


def _weight(batch: Batch) -> Array:
    default = np.ones(batch["image"].shape[0], np.float32)
    return jnp.asarray(batch.get("weight", default))


def _mean(values: Array, weight: Array) -> Array:
    return jnp.where(weight > 0, weight * values, 0).sum() / jnp.maximum(weight.sum(), 1e-12)


def _correct(logits: Array, label: Array) -> Array:
    truth = label if label.ndim == 1 else label.argmax(-1)
    return (logits.argmax(-1) == truth).astype(jnp.float32)
