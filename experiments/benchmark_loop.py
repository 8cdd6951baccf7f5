"""What the training loop costs: images a second of `fit` beside other loops around the same model.

All train on Fashion-MNIST at 28x28 by SGD with momentum. `fit` keeps the data on the device and
compiles the loop; `stream` is `fit` reading every batch on the host. `step` is the bare step: our
`train_step` alone on one batch that stays where it is, compiled as `fit` compiles it;
`default_step` is the same with XLA's default options, as `jaxcnn.train` exports it. `flax` is the
loop that one writes first: stock Flax modules, a jitted Optax step, NumPy batches. `torch` and
`torch_compile` are PyTorch's loops over tensors in memory, eager in the default layout and compiled
(model and loss) in channels_last, in a process of its own. They take turns in random order; a rate
is the median of the turns, a ratio the median of the ratios turn by turn. `fit` counts the seconds
that it logs; what a call of it costs once, besides compiling its step, is told apart.

Command:  python experiments/benchmark_loop.py
Hardware: 2 CPU cores (AMD EPYC with AVX2, without AVX-512), shared; PyTorch 2.13
Time:     8 min
Result:   LeNet: `fit` makes 9,500 images/s on jax 0.10.2 (10,500 on 0.12), 1.00 (1.20) times the
          bare step's rate, 2.3 (2.5) times stock Flax's, 1.14 (1.28) times eager PyTorch's.
          ResNet-18: 430 (420) images/s, 1.03 (1.06) times the bare step's, 6.2 (5.3) times stock
          Flax's, 2.4 (2.5) times PyTorch's, which is slow on these cores: with AVX-512 an earlier
          record, on a busy machine, had 630 beside PyTorch's 580
"""

import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import linen as nn
from jax import Array
from recording import record
from timing import REST, TORCH, Peer, elapsed

from jaxcnn import data, lowering, models
from jaxcnn.train import State, create_state, fit, train_step

SIZES = {"lenet": (128, 100), "resnet18": (64, 8)}  # images in a step, steps in a turn
RATE, MOMENTUM = 0.01, 0.9
Turn = Callable[[], float]  # trains for a turn, returns its seconds


@dataclass(frozen=True)
class Config:
    """What to run."""

    names: tuple[str, ...] = tuple(SIZES)
    """Models."""
    turns: int = 15
    """Turns of each loop, after one that is not counted."""
    torch: str = TORCH
    """A Python that has PyTorch and torchvision, this one or another; none where empty."""
    label: str = ""
    """Ending of the record's name, for another machine or version."""
    smoke: bool = False
    """Two steps of LeNet in one turn, nothing written."""


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


class StockResNet18(nn.Module):
    """`jaxcnn.models.resnet18` in Flax's own modules."""

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """b h w c -> b 10."""
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        conv = partial(nn.Conv, use_bias=False)
        x = nn.relu(norm()(conv(64, (7, 7), 2, padding=3)(x)))
        margins: Any = ((1, 1), (1, 1))
        x = nn.max_pool(x, (3, 3), (2, 2), margins)
        for width in (64, 128, 256, 512):
            for stride in (1 if width == 64 else 2, 1):
                y = nn.relu(norm()(conv(width, (3, 3), stride, padding=1)(x)))
                y = norm()(conv(width, (3, 3), padding=1)(y))
                if x.shape != y.shape:
                    x = norm()(conv(width, (1, 1), stride)(x))
                x = nn.relu(x + y)
        return nn.Dense(10)(x.mean((1, 2)))


STOCK = {"lenet": StockLeNet, "resnet18": StockResNet18}
Prepare = Callable[[Any], Any]


def fresh(name: str) -> State:
    """Our model's state before its first step."""
    x = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    model = models.create(name, num_classes=10)
    return create_state(model, optax.sgd(RATE, MOMENTUM), jax.random.key(0), x)


def fit_turn(name: str, train: data.Split, batch: int, prepare: Prepare, stream: bool) -> Turn:
    """An epoch of `fit`, in the seconds that it logs."""
    state, options = fresh(name), {"batch_size": batch, "key": jax.random.key(1)}

    def turn() -> float:
        found = fit(state, train, None, epochs=1, prepare=prepare, stream=stream, **options)
        return found.history[-1]["seconds"]

    return turn


def step_turn(name: str, train: data.Split, batch: int, prepare: Prepare, tuned: bool) -> Turn:
    """`train_step` on one batch on the device, as many times as an epoch has steps."""
    step = train_step
    if tuned:
        options = lowering.compiler_options()
        step = jax.jit(train_step, donate_argnums=0, compiler_options=options)
    one = {"image": prepare(train.images[:batch]), "label": train.labels[:batch]}
    one = jax.device_put(one)
    state = fresh(name)

    def turn() -> float:
        nonlocal state
        began = time.perf_counter()
        for _ in range(len(train) // batch):
            state, _ = step(state, one)
        jax.block_until_ready(state.params)
        return time.perf_counter() - began

    return turn


def flax_turn(name: str, train: data.Split, batch: int, prepare: Prepare) -> Turn:
    """An epoch by the loop that one writes first, around stock modules."""
    model, optimizer = STOCK[name](), optax.sgd(RATE, MOMENTUM)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    now: tuple[Any, Any] = (variables, optimizer.init(variables["params"]))

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(variables: Any, opt_state: Any, x: Array, y: Array) -> tuple[Any, Any]:
        def loss(params: Any) -> tuple[Array, Any]:
            of = {**variables, "params": params}
            logits, updated = model.apply(of, prepare(x), train=True, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), y)
            return losses.mean(), updated

        gradient, updated = jax.grad(loss, has_aux=True)(variables["params"])
        updates, opt_state = optimizer.update(gradient, opt_state)
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, **updated}, opt_state

    def turn() -> float:
        nonlocal now
        began = time.perf_counter()
        order = np.random.default_rng(1).permutation(len(train))
        for i in range(0, len(train), batch):
            chosen = order[i : i + batch]
            now = step(*now, train.images[chosen], train.labels[chosen])
        jax.block_until_ready(now)
        return time.perf_counter() - began

    return turn


def torch_turns(
    peer: Peer, name: str, train: data.Split, batch: int, prepare: Prepare
) -> dict[str, Turn]:
    """An epoch by PyTorch, on tensors that are normalized beforehand."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.npz"
        np.savez(file, images=np.asarray(prepare(train.images)), labels=train.labels)
        options = {"name": name, "data": str(file), "batch": batch}
        kinds = ("torch", "torch_compile")
        made = {k: peer.calls("epoch", kind=k, **options)["epoch"] for k in kinds}
    return {kind: partial(elapsed, call) for kind, call in made.items()}


def measured(name: str, train: data.Split, batch: int, config: Config, peer: Peer | None) -> Any:
    """Images a second of each loop around one model, and the ratios to ours."""
    prepare = partial(data.normalize, mean=(0.2860,), std=(0.3530,))
    given = (name, train, batch, prepare)
    calls = {
        "fit": fit_turn(*given, stream=False),
        "stream": fit_turn(*given, stream=True),
        "step": step_turn(*given, tuned=True),
        "default_step": step_turn(*given, tuned=False),
        "flax": flax_turn(*given),
        **(torch_turns(peer, *given) if peer else {}),
    }
    for call in calls.values():
        call()
    began = time.perf_counter()
    epoch = calls["fit"]()
    once = time.perf_counter() - began - epoch
    taken: dict[str, list[float]] = {kind: [] for kind in calls}
    shuffle = random.Random(0)
    for _ in range(1 if config.smoke else config.turns):
        for kind in shuffle.sample(list(calls), len(calls)):
            time.sleep(REST)
            taken[kind].append(calls[kind]())
    row = {f"{kind} images/s": len(train) / median(times) for kind, times in taken.items()}
    for kind in list(calls)[1:]:
        ratios = [b / a for a, b in zip(taken["fit"], taken[kind], strict=True)]
        row[f"fit rate over {kind}"] = median(ratios)
    return row | {"fit, once s": once}


def main(config: Config) -> dict[str, float]:
    """Rates and ratios of each model, as one record."""
    lowering.keep_memory()
    peer = Peer(config.torch) if config.torch and not config.smoke else None
    source = "digits" if config.smoke else "fashion-mnist"
    everything = data.load(source, size=(28, 28)).train
    result: dict[str, float] = {}
    for name in ("lenet",) if config.smoke else config.names:
        batch, steps = (8, 2) if config.smoke else SIZES[name]
        train = data.Split(everything.images[: batch * steps], everything.labels[: batch * steps])
        row = measured(name, train, batch, config, peer)
        result |= {f"{name}, {key}": value for key, value in row.items()}
    result["load average"] = os.getloadavg()[0]
    record("benchmark_loop" + (f"-{config.label}" if config.label else ""), result, config.smoke)
    return result


if __name__ == "__main__":
    main(tyro.cli(Config))
