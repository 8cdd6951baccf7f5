"""One of many trainings of one shape: what tells it from the others goes in as numbers.

Parameters, shuffles, dropout and augmentation are drawn as `train_run` of its config draws them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from jaxcnn import data
from jaxcnn.losses import cross_entropy
from jaxcnn.train.config import TrainConfig
from jaxcnn.train.epochs import Prepare, Step, Totals
from jaxcnn.train.optimizers import combined
from jaxcnn.train.schedules import Schedule
from jaxcnn.train.setups import accumulating
from jaxcnn.train.steps import Batch, Loss, State, predict

TRAITS = ("learning_rate", "weight_decay", "momentum", "label_smoothing")
Traits = Mapping[str, Any]  # these options, as numbers or traced


class Member(NamedTuple):
    """A training; with one more axis in front, a population of them."""

    state: State
    traits: Traits
    shuffle: Any  # the key of the shuffles
    train: Any  # its training images' places in the data set
    validation: Any  # and its validation images', the last batch filled up with zeros


def shape_of(config: TrainConfig) -> TrainConfig:
    """A config without what members of one program may differ in: equal for equal programs."""
    alike: dict[str, Any] = dict.fromkeys(TRAITS, 0.0) | {"learning_rate": 1.0}
    if config.optimizer == "rmsprop":  # without momentum it keeps another state
        alike["momentum"] = config.momentum
    return replace(config, **alike, seed=0, out=None)


def traits_of(config: TrainConfig) -> dict[str, float]:
    """The options that a program takes as numbers."""
    return {name: getattr(config, name) for name in TRAITS}


def places(split: data.Split, fraction: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the images of `split_validation` lie in the whole split: training, validation."""
    n = len(split)
    # Images of four bytes, each its own number: what is held out says which they are.
    numbers = np.arange(n, dtype=np.int32).view(np.uint8).reshape(n, 1, 1, 4)
    parts = data.split_validation(data.Split(numbers, split.labels), fraction, seed=seed)
    train, validation = (np.ascontiguousarray(part.images).view(np.int32).ravel() for part in parts)
    return train, validation


def optimizer_of(
    shape: TrainConfig, rate: Schedule, traits: Traits
) -> optax.GradientTransformationExtraArgs:
    """`setups.optimizer_of` for traits that may be traced, and with one form of state for all."""

    def learning_rate(step: Any) -> Any:
        return traits["learning_rate"] * rate(step)

    optimizer = combined(
        shape.optimizer,
        learning_rate,
        shape.momentum if shape.optimizer == "rmsprop" else traits["momentum"],
        traits["weight_decay"],
        shape.clip_norm,
        shape.freeze,
        shape.multipliers,
    )
    return optax.with_extra_args_support(accumulating(optimizer, shape.accumulate))


def smoothed(smoothing: Any) -> Loss:
    """Cross-entropy with label smoothing, which may be traced."""

    def loss(logits: Array, labels: Array) -> Array:
        classes = logits.shape[-1]
        if labels.ndim == 1:
            labels = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
        return cross_entropy(logits, (1 - smoothing) * labels + smoothing / classes)

    return loss


def member_step(
    shape: TrainConfig, rate: Schedule, step: Step
) -> Callable[[State, Totals, Traits, Batch], tuple[State, Totals]]:
    """The step of a run as one of a member, which takes its traits as well."""

    def stepped(state: State, totals: Totals, traits: Traits, batch: Batch) -> tuple[State, Totals]:
        optimizer = optimizer_of(shape, rate, traits)
        loss = smoothed(traits["label_smoothing"])
        after, totals = step(state.replace(optimizer=optimizer, loss=loss), totals, batch)
        return after.replace(optimizer=state.optimizer, loss=state.loss), totals

    return stepped


def validated(
    member: Member, images: Mapping[str, Array], prepare: Prepare, weight: np.ndarray
) -> dict[str, Array]:
    """Sums over a member's validation images, and whether it is finite."""
    loss = smoothed(member.traits["label_smoothing"])

    def sums(part: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, weight = part
        labels = images["label"][chosen]
        logits = predict(member.state, prepare(images["image"][chosen])).astype(jnp.float32)
        correct = logits.argmax(-1) == labels
        return jnp.where(weight, loss(logits, labels), 0).sum(), (weight & correct).sum()

    batches = member.validation.reshape(weight.shape), jnp.asarray(weight)
    losses, correct = lax.map(sums, batches)
    parts = jax.tree.leaves((member.state.params, member.state.batch_stats))
    return {
        "val_loss": losses.sum(),
        "val_correct": correct.sum(),
        "finite": jnp.all(jnp.stack([jnp.isfinite(part).all() for part in parts])),
    }
