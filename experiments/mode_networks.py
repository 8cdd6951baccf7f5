"""Forward against reverse mode on CNNs: one gradient, training, products with the Hessian."""

import math
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from matplotlib.figure import Figure
from mode_sweeps import costs, normal

from jaxcnn import data, models
from jaxcnn.autodiff.costs.comparison import ModeCost
from jaxcnn.autodiff.costs.estimators import forward_gradient
from jaxcnn.autodiff.costs.modes import compare_modes
from jaxcnn.autodiff.costs.products import ORDERS, hessian_vector_product
from jaxcnn.functional.shapes import count_parameters
from jaxcnn.losses import cross_entropy
from jaxcnn.plots import Panel, bar_groups

# model, batch, pixels, channels
LENET = ("lenet", 32, 28, 1)
NETWORKS = [LENET, ("resnet18", 2, 224, 3)]
SMALLEST = ("tiny", 2, 8, 1)
MOMENTUM, BATCH = 0.9, 64
# Directions (0: backpropagation), learning rate, steps in a block, blocks. The rate falls to zero
# in a line. Forward gradients diverge, after a while, at a constant rate of twice as much.
TRAININGS = {
    "backpropagation": (0, 2e-2, 25, 24),
    "forward gradient": (1, 1.5e-5, 400, 24),
    "forward gradient, mean of 16": (16, 1.5e-4, 125, 16),
}


def problem(
    name: str, batch: int, pixels: int, channels: int
) -> tuple[Callable[[Any], Array], Any]:
    """A model's mean cross-entropy in training, as a function of its parameters."""
    model, x = models.create(name, num_classes=10), normal(0, batch, pixels, pixels, channels)
    labels = jnp.arange(batch) % 10
    variables = jax.jit(model.init)(jax.random.key(0), x)
    rest = {key: value for key, value in variables.items() if key != "params"}

    def loss(params: Any) -> Array:
        logits = model.apply({"params": params, **rest}, x, train=True, mutable=list(rest))[0]
        return cross_entropy(logits, labels).mean()

    return loss, variables["params"]


def networks(smoke: bool, seconds: float) -> tuple[dict[str, Any], Figure]:
    """(c) One gradient by reverse mode, one directional derivative by forward mode, m of them."""
    rows, groups = {}, {}
    for name, batch, pixels, channels in [SMALLEST] if smoke else NETWORKS:
        loss, params = problem(name, batch, pixels, channels)
        report = compare_modes(loss, params, seconds=seconds, max_passes=0)
        print(report)
        base, jvp, vjp = (_figures(report.costs[key]) for key in ("function", "jvp", "vjp"))
        rows[name] = {
            "inputs": report.inputs,
            "function_ms": 1e3 * base["time"],
            **{f"jvp_{key}_ratio": jvp[key] / base[key] for key in base},
            **{f"gradient_{key}_ratio": vjp[key] / base[key] for key in base},
            "function_megabytes": base["memory"] / 1e6,
            # Not run: m directional derivatives, one after another, at the time of one.
            "gradient_by_forward_hours_extrapolated": report.inputs * jvp["time"] / 3600,
            "disagreement": report.disagreements["jvp against vjp"],
        }
        for mode, cost in (("one jvp", jvp), ("gradient", vjp)):
            groups[f"{NAMES[name]}\n{mode}"] = {key: cost[key] / base[key] for key in base}
    bound = ("theory's bound on a gradient's operations: 5", 5.0)
    return {"networks": rows}, bar_groups(groups, "times one evaluation of the loss", bound=bound)


NAMES = {"lenet": "LeNet", "resnet18": "ResNet-18", "tiny": "tiny"}


def _figures(cost: ModeCost) -> dict[str, float]:
    """All of them known: each of the three programs exists and was run."""
    figures = {"FLOPs": cost.flops, "time": cost.seconds, "memory": cost.temporary_bytes}
    return {key: value or math.nan for key, value in figures.items()}


def digits() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """scikit-learn's digits, standardized, every pixel twice in each direction: 16x16."""
    found = data.load("digits")
    pairs = []
    for split in (found.train, found.test):
        x = (jnp.asarray(split.images, jnp.float32) / 255 - jnp.array(found.mean)) / jnp.array(
            found.std
        )
        pairs.append((x.repeat(2, axis=1).repeat(2, axis=2), jnp.asarray(split.labels)))
    return pairs[0], pairs[1]


def training(smoke: bool) -> tuple[dict[str, Any], list[Panel]]:
    """(d) LeNet by forward gradients and by backpropagation: test accuracy by step and second."""
    (x, labels), (x_test, labels_test) = digits()
    model = models.create("tiny" if smoke else "lenet", num_classes=10)
    start = jax.jit(model.init)(jax.random.key(0), x[:1])

    def logits(params: Any, x: Array) -> Any:
        return model.apply(params, x)

    @partial(jax.jit, static_argnames=("directions", "steps"))
    def block(state: Any, key: Array, rates: Array, directions: int, steps: int) -> Any:
        def step(state: Any, given: Any) -> tuple[Any, None]:
            params, momentum = state
            key, rate = given
            batch_key, key = jax.random.split(key)
            batch = jax.random.choice(batch_key, len(labels), (BATCH,), replace=False)

            def loss(params: Any) -> Array:
                return cross_entropy(logits(params, x[batch]), labels[batch]).mean()

            if directions:
                gradient = forward_gradient(loss, directions=directions)(key, params)
            else:
                gradient = jax.grad(loss)(params)
            momentum = jax.tree.map(lambda m, g: MOMENTUM * m + g, momentum, gradient)
            return (jax.tree.map(lambda p, m: p - rate * m, params, momentum), momentum), None

        state, _ = jax.lax.scan(step, state, (jax.random.split(key, steps), rates))
        return state, (logits(state[0], x_test).argmax(axis=-1) == labels_test).mean()

    rows, by_step, by_second = {}, {}, {}
    for name, (directions, rate, steps, blocks) in list(TRAININGS.items())[2 if smoke else 0 :]:
        if smoke:
            directions, steps, blocks = min(directions, 2), 1, 1
        state = start, jax.tree.map(jnp.zeros_like, start)
        rates = jnp.linspace(rate, 0, steps * blocks, endpoint=False).reshape(blocks, steps)
        run = block.lower(state, jax.random.key(0), rates[0], directions, steps).compile()
        accuracies, seconds = [], [0.0]
        for key, block_rates in zip(
            jax.random.split(jax.random.key(1), blocks), rates, strict=True
        ):
            began = perf_counter()
            state, accuracy = jax.block_until_ready(run(state, key, block_rates))
            seconds.append(seconds[-1] + perf_counter() - began)
            accuracies.append(100 * float(accuracy))
        counts = [steps * (i + 1) for i in range(blocks)]
        by_step[name], by_second[name] = (counts, accuracies), (seconds[1:], accuracies)
        rows[name] = {
            "steps": counts[-1],
            "seconds": seconds[-1],
            "milliseconds_a_step": 1e3 * seconds[-1] / counts[-1],
            "test_accuracy": accuracies[-1],
            **{f"steps_to_{a}": _first(counts, accuracies, a) for a in (50, 80, 90)},
            **{f"seconds_to_{a}": _first(seconds[1:], accuracies, a) for a in (50, 80, 90)},
        }
    panels = [
        Panel(f"By {what}", axis, "test accuracy (%)", lines, "x")
        for what, axis, lines in (
            ("step", "steps of 64 images", by_step),
            ("second", "seconds, compilation not counted", by_second),
        )
    ]
    return {"training_parameters": count_parameters(start), "training": rows}, panels


def _first(xs: list[Any], accuracies: list[float], wanted: float) -> float | str:
    return next((x for x, a in zip(xs, accuracies, strict=True) if a >= wanted), "not reached")


def hessians(smoke: bool, seconds: float) -> tuple[dict[str, Any], Figure]:
    """(g) A product with the Hessian of LeNet's loss by its parameters, in the three orders."""
    loss, params = problem(*(SMALLEST if smoke else LENET))
    v = jax.tree.map(lambda a: normal(3, *a.shape), params)
    programs: dict[str, Callable[..., Any]] = {
        "gradient": lambda p, v: jax.value_and_grad(loss)(p),
        **{
            order: lambda p, v, order=order: hessian_vector_product(loss, p, v, order=order)
            for order in ORDERS
        },
    }
    found = costs({("", name): (f, (params, v)) for name, f in programs.items()}, seconds)[""]
    base = found["gradient"]
    names = {"flops": "FLOPs", "seconds": "time", "bytes": "memory"}
    groups = {
        order.replace("-over-", "\nover "): {
            name: found[order][key] / base[key] for key, name in names.items()
        }
        for order in ORDERS
    }
    rows = {
        order: {
            **{f"{name}_ratio": found[order][key] / base[key] for key, name in names.items()},
            "milliseconds": 1e3 * found[order]["seconds"],
        }
        for order in ORDERS
    }
    return {"hessian_products": rows}, bar_groups(groups, "times one gradient of LeNet's loss")
