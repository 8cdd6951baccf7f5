"""The learning-rate range test: which learning rates a config can have."""

import json
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxcnn import data
from jaxcnn.lowering import compiler_options
from jaxcnn.plots import learning_rate_curve, save
from jaxcnn.train.config import TrainConfig, only_defaults
from jaxcnn.train.directories import write_whole
from jaxcnn.train.epochs import Step, counted_step, empty_totals
from jaxcnn.train.inputs import load_data, make_augment, make_prepare
from jaxcnn.train.setups import optimizer_of, start_state, start_weights
from jaxcnn.train.steps import Batch, State

DECAY = 0.9  # of the smoothed loss: it lags behind by ten steps
WORSE = 4.0  # times its smallest value, and the test ends
BELOW = 10.0  # the suggestion is so many times smaller than the rate of the smallest loss
FEWEST = 20  # steps that show a slope
UNHEEDED = ("accumulate", "stream", "mesh", "shard_optimizer", "batch_norm")


class Range(NamedTuple):
    """What a range test found."""

    rates: Float[np.ndarray, " steps"]
    losses: Float[np.ndarray, " steps"]  # nats, each of a batch before its step
    smoothed: Float[np.ndarray, " steps"]
    steepest: float  # the learning rate where the smoothed loss falls fastest
    suggestion: float
    ended: str  # how, as a sentence


def learning_rate_range(
    config: TrainConfig, *, lowest: float = 1e-6, highest: float = 10.0, steps: int = 200
) -> Range:
    """Train while the learning rate grows by the same factor from step to step.

    The loss is smoothed by an exponential average without the bias towards its start. The test ends
    early where that is more than 4 times its smallest value so far, or not finite. The suggested
    largest rate is a tenth of that with the smallest smoothed loss, beyond which training is about
    to diverge. It is written to lr-range.json and lr-range.png in `config.out`, where that is
    given.

    Args:
        config: of a run; its learning rate, schedule and epochs do not count.
        lowest: the first learning rate.
        highest: the last one.
        steps: how many there are.

    Raises:
        ValueError: rates that do not grow, too few steps, options that do not fit together, or a
            loss that grows from the start.
        FileNotFoundError: data that are not there.

    Reference:
        Smith (2017), Cyclical learning rates for training neural networks, section 3.3,
        https://arxiv.org/abs/1506.01186.
    """
    if not 0 < lowest < highest:
        raise ValueError(f"lr-range: needs 0 < lowest < highest, got {lowest} and {highest}.")
    if steps < FEWEST:
        raise ValueError(f"lr-range: needs {FEWEST} steps at least, got {steps}.")
    only_defaults("lr-range", config, UNHEEDED)
    rates = lowest * (highest / lowest) ** (np.arange(steps) / (steps - 1))
    losses, smoothed = _losses(config, rates)
    found = _read(rates, losses, smoothed)
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
        numbers = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in _plain(found)}
        write_whole(config.out / "lr-range.json", json.dumps(numbers, indent=1) + "\n")
        figure = learning_rate_curve(
            found.rates, found.losses, found.smoothed, found.steepest, found.suggestion
        )
        save(figure, config.out / "lr-range.png")
    return found


def _plain(found: Range) -> Any:
    return found._asdict().items()


def _losses(config: TrainConfig, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each step that was taken, raw and smoothed."""
    dataset, fed = load_data(config)
    split = dataset.train
    if config.validation:
        split, _ = data.split_validation(split, config.validation, seed=config.seed)
    batch = min(config.batch_size, len(split))
    ratio = float(rates[1] / rates[0])
    optimizer = optimizer_of(config, lambda step: rates[0] * ratio ** step.astype(jnp.float32))
    state = start_state(config, fed, optimizer, start_weights(config, fed))
    step = counted_step(make_prepare(fed), make_augment(config, len(fed.classes)), None)
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    each = len(split) // batch
    epochs = range(-(-len(rates) // each))
    orders = [
        jax.random.permutation(jax.random.fold_in(key, epoch), len(split))[: each * batch]
        for epoch in epochs
    ]
    order = jnp.concatenate(orders)[: len(rates) * batch].reshape(-1, batch)
    test = jax.jit(partial(_test, step), compiler_options=compiler_options())
    images = {"image": split.images, "label": split.labels}
    taken, losses, smoothed = jax.device_get(test(state, images, order))
    return losses[:taken].astype(np.float64), smoothed[:taken].astype(np.float64)


def _test(step: Step, state: State, images: Batch, order: Array) -> tuple[Array, Array, Array]:
    """Steps on batches in this order, and the loss of each, until it has grown too much."""
    steps = len(order)

    def go_on(carry: Any) -> Array:
        _, i, _, _, _, least, last = carry
        return (i < steps) & (last <= WORSE * least)  # of NaN that is false

    def body(carry: Any) -> Any:
        state, i, losses, smoothed, average, least, _ = carry
        chosen = {name: jnp.asarray(values)[order[i]] for name, values in images.items()}
        state, totals = step(state, empty_totals(), chosen)
        loss = totals["loss"] / totals["count"]
        average = DECAY * average + (1 - DECAY) * loss
        now = average / (1 - DECAY ** (i + 1.0))
        losses, smoothed = losses.at[i].set(loss), smoothed.at[i].set(now)
        return state, i + 1, losses, smoothed, average, jnp.minimum(least, now), now

    none, zero = jnp.zeros(steps), jnp.float32(0)
    start = (state, jnp.int32(0), none, none, zero, jnp.float32(jnp.inf), zero)
    _, taken, losses, smoothed, *_ = lax.while_loop(go_on, body, start)
    return taken, losses, smoothed


def _read(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray) -> Range:
    """What the losses say."""
    taken = len(losses)
    ended = f"All {taken} steps were taken."
    if not np.isfinite(smoothed[-1]):
        ended = f"The loss was not finite at step {taken} of {len(rates)}."
    elif smoothed[-1] > WORSE * smoothed.min():
        ended = f"The loss grew {WORSE:g}-fold at step {taken} of {len(rates)}."
    sound = np.isfinite(smoothed)
    rates, losses, smoothed = rates[:taken][sound], losses[sound], smoothed[sound]
    least = int(smoothed.argmin()) if len(smoothed) else 0
    if least < FEWEST // 2:
        raise ValueError("lr-range: the loss does not fall: choose a smaller lowest rate.")
    near = min(max(taken // 20, 2), least // 2)  # neighbours on each side: batches differ
    slopes = smoothed[2 * near : least + 1] - smoothed[: least + 1 - 2 * near]
    steepest = float(rates[near + int(slopes.argmin())])
    return Range(rates, losses, smoothed, steepest, float(rates[least] / BELOW), ended)
