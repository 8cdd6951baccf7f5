"""What the training loop costs: steps a second of `fit` beside loops written by hand.

All train LeNet at batch 128 on the same images: `fit` with our model; a plain loop of a jitted
Optax step around the same model; and the same plain loop around stock Flax modules (`nn.Conv`,
`nn.max_pool`). They take turns in one process, in an order that rotates; the loop's own cost is the
ratio of the first two.

Command:  python experiments/benchmark_loop.py
Hardware: 2 CPU cores (AMD EPYC), jax 0.10.2 and 0.12.0.1, float32
Time:     75 s
Result:   `fit` takes 1.007 times the plain loop's time around the same model (0.999 on jax 0.12)
          and 0.79 times that around stock Flax modules (0.79): 40.7, 40.8 and 32.4 steps/s, on
          a machine that had other work to do at the time
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import linen as nn
from jax import Array
from recording import record

from jaxcnn.data import Split, normalize
from jaxcnn.models import create
from jaxcnn.train import create_state, fit


@dataclass(frozen=True)
class Config:
    """What to run."""

    batch_size: int = 128
    """Images in a step."""
    steps: int = 100
    """Steps in a turn."""
    turns: int = 15
    """Turns of each loop, after one that is not counted."""
    smoke: bool = False
    """Two steps in two turns, nothing written."""


class StockLeNet(nn.Module):
    """`jaxcnn.models.lenet` in Flax's own modules."""

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b 10."""
        x = nn.relu(nn.Conv(6, (5, 5), padding=2)(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Conv(16, (5, 5), padding="VALID")(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(120)(x))
        x = nn.relu(nn.Dense(84)(x))
        return nn.Dense(10)(x)


def images(n: int) -> Split:
    """Random images and labels: their content does not matter to the time."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8)
    return Split(pixels, rng.integers(0, 10, n).astype(np.int32))


def our_loop(split: Split, batch_size: int) -> Callable[[], float]:
    """Seconds for a call of `fit` with one epoch: shuffle, steps, and all that it does around."""
    x = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    state = create_state(create("lenet"), optax.adam(1e-3), jax.random.key(0), x)
    options = {"epochs": 1, "batch_size": batch_size, "key": jax.random.key(1), "prepare": prepare}

    def turn() -> float:
        began = perf_counter()
        fit(state, split, None, **options)
        return perf_counter() - began

    return turn


def plain_loop(model: nn.Module, split: Split, batch_size: int) -> Callable[[], float]:
    """Seconds for an epoch by the loop that one writes first."""
    optimizer = optax.adam(1e-3)
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))["params"]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, opt_state: Any, x: Array, y: Array) -> tuple[Any, Any, Array]:
        def loss(params: Any) -> Array:
            logits = model.apply({"params": params}, prepare(x), train=True)
            losses = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), y)
            return losses.mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, updates), opt_state, value

    def turn() -> float:
        began = perf_counter()
        now, opt_state = jax.tree.map(jnp.copy, params), optimizer.init(params)
        order = np.random.default_rng(1).permutation(len(split))
        for i in range(0, len(split), batch_size):
            chosen = order[i : i + batch_size]
            now, opt_state, _ = step(now, opt_state, split.images[chosen], split.labels[chosen])
        jax.block_until_ready(now)
        return perf_counter() - began

    return turn


def prepare(x: Array) -> Array:
    """The normalisation that all three do inside their step."""
    return jnp.asarray(normalize(x, (0.5,), (0.25,)))


def main(config: Config) -> dict[str, float]:
    """Median steps a second of each, and the ratios of the times turn by turn."""
    steps, turns = (2, 2) if config.smoke else (config.steps, config.turns)
    split = images(steps * config.batch_size)
    loops = {
        "fit": our_loop(split, config.batch_size),
        "plain": plain_loop(create("lenet"), split, config.batch_size),
        "stock_flax": plain_loop(StockLeNet(), split, config.batch_size),
    }
    for turn in loops.values():
        turn()
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for i in range(turns):
        for name in names[i % 3 :] + names[: i % 3]:
            seconds[name].append(loops[name]())
    result = {f"{name}_steps_per_second": steps / median(s) for name, s in seconds.items()}
    for name in ("plain", "stock_flax"):
        ratios = [a / b for a, b in zip(seconds["fit"], seconds[name], strict=True)]
        result[f"fit_time_over_{name}"] = median(ratios)
    record("benchmark_loop", result, config.smoke)
    return result


if __name__ == "__main__":
    main(tyro.cli(Config))
