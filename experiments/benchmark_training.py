"""Training steps and inference of whole models: ours beside plain Flax and PyTorch.

A step is forward, backward and a momentum update of random images at the sizes below. `flax` is the
same model with what stock Flax modules call: `lax.conv_general_dilated`, `lax.reduce_window` and
`flax.linen.BatchNorm` itself. `torch` is torchvision's model, eager; `torch_cl` the same in
channels_last; `torch_compile` that one compiled. All take turns, PyTorch in a process of its own.

Command:  python experiments/benchmark_training.py
Hardware: 2 CPU cores (AMD EPYC with AVX-512), jax 0.10.2 (and 0.12), torch 2.13, float32
Time:     about 1 min a model
Result:   a step takes 0.04 (ResNeXt-50) to 0.89 (ResNet-18) of plain Flax's time and, in the
          geometric mean over twelve models, 0.93 of eager PyTorch's: 0.66 (AlexNet with groups) to
          1.36 (ResNet-18). On jax 0.12: 0.03 to 0.89, and 0.84. Compiling takes 0.6 to 1.2 of plain
          Flax's time, but ConvNeXt 1.6 and ResNeXt 3.1 (results/benchmark_training.md)
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence
from statistics import geometric_mean
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import linen as nn
from jax import Array
from recording import recorded, save, save_table
from timing import TORCH, Call, Peer, interleaved

from jaxcnn import lowering, models

SHAPES = {  # images, pixels
    "lenet": (128, 28),
    "alexnet": (16, 224),
    "alexnet_2012": (16, 227),
    "vgg16_bn": (8, 96),
    "googlenet": (16, 96),
    "resnet18": (16, 96),
    "resnet50": (8, 96),
    "densenet121": (8, 64),
    "mobilenet_v2": (16, 96),
    "resnext50_32x4d": (8, 96),
    "convnext_tiny": (8, 96),
    "efficientnet_b0": (8, 96),
}
OFF = {"aux_logits": False, "drop_rate": 0.0, "drop_path_rate": 0.0}
TORCHES = ("torch", "torch_cl", "torch_compile")
KINDS = ("ours", "flax", "torch", "torch_cl")


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run."""

    names: tuple[str, ...] = tuple(SHAPES)
    """Models."""
    kinds: tuple[str, ...] = KINDS
    """Of ours, flax, torch, torch_cl and torch_compile."""
    torch: str = TORCH
    """A Python that has PyTorch and torchvision, this one or another; none where empty."""
    seconds: float = 20.0
    """How long the turns of one model last, about."""
    label: str = ""
    """Ending of the record's name, for another machine or version."""
    smoke: bool = False
    """Two turns of LeNet, nothing written."""


@contextlib.contextmanager
def plain_flax() -> Iterator[None]:
    """What is traced inside calls JAX's and Flax's own operations."""

    def batch_norm(
        x: Array, scale: Array, bias: Array, mean: Array, var: Array, **options: Any
    ) -> tuple[Any, tuple[Any, Any]]:
        norm = nn.BatchNorm(
            use_running_average=not options["train"],
            momentum=1 - options["momentum"],
            epsilon=options["eps"],
        )
        variables = {
            "params": {"scale": scale, "bias": bias},
            "batch_stats": {"mean": mean, "var": var},
        }
        y, updated = norm.apply(variables, x, mutable=["batch_stats"])
        statistics: Any = updated.get("batch_stats", variables["batch_stats"])
        return y, (statistics["mean"], statistics["var"])

    with lowering.use("xla"), mock.patch("jaxcnn.models.layers.batch_norm", batch_norm):
        yield


def images(name: str) -> tuple[int, int, int]:
    """How many, and their pixels along a side and channels."""
    return *SHAPES[name], models.entry(name).input_shape[2]


def jax_calls(name: str, kind: str) -> tuple[dict[str, Call], dict[str, float]]:
    """A training step and inference, compiled, and what compiling the step costs."""
    batch, size, channels = images(name)
    off = {k: v for k, v in OFF.items() if k in models.defaults(name)}
    model = models.create(name, **off)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((batch, size, size, channels), np.float32))
    labels = jnp.asarray(rng.integers(0, 10, batch))
    variables = jax.jit(model.init)(jax.random.key(0), x)
    optimizer = optax.sgd(0.01, momentum=0.9)

    def step(variables: Any, moments: Any, x: Array, labels: Array) -> tuple[Any, Any, Array]:
        def loss(params: Any) -> tuple[Array, Any]:
            logits, updated = model.apply(
                {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), labels)
            return losses.mean(), updated

        (value, updated), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        updates, moments = optimizer.update(gradient, moments)
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, **updated}, moments, value

    moments = optimizer.init(variables["params"])
    options = {} if kind == "flax" else lowering.compiler_options()
    with plain_flax() if kind == "flax" else contextlib.nullcontext():
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(variables, moments, x, labels)
        infer = jax.jit(functools.partial(model.apply, train=False)).lower(variables, x)
    inference = infer.compile(options)
    began = time.perf_counter()
    compiled = lowered.compile(options)
    seconds = time.perf_counter() - began
    memory = compiled.memory_analysis()
    assert memory is not None
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes
    needed += memory.temp_size_in_bytes - memory.alias_size_in_bytes
    cost = {"compile s": seconds, "memory MB": needed / 1e6}
    evaluated = jax.tree.map(jnp.copy, variables)
    now = [variables, moments]

    def train() -> None:
        *now[:], value = compiled(*now, x, labels)
        jax.block_until_ready(value)

    return {"train": train, "infer": lambda: inference(evaluated, x).block_until_ready()}, cost


def measured(
    name: str, kinds: Sequence[str], peer: Peer | None, seconds: float
) -> dict[str, float]:
    """Milliseconds of a step and of inference, and the costs of compiling, of one model."""
    batch, size, channels = images(name)
    calls, row = {}, {}
    for kind in kinds:
        if kind.startswith("torch"):
            assert peer is not None
            calls[kind] = peer.calls(
                "model", name=name, kind=kind, batch=batch, size=size, channels=channels
            )
        else:
            calls[kind], costs = jax_calls(name, kind)
            row |= {f"{kind} {what}": value for what, value in costs.items()}
    for what in ("train", "infer"):
        taken = interleaved({kind: calls[kind][what] for kind in kinds}, seconds, turns=2)
        row |= {f"{kind} {what} ms": 1e3 * t for kind, t in taken.items()}
    if peer:
        peer.forget()
    return row


def ratios(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Geometric means of the others' time over ours, over the models that were measured in both."""
    means = {}
    for kind in ("flax", *TORCHES):
        for what in ("train", "infer"):
            ours, theirs = f"ours {what} ms", f"{kind} {what} ms"
            both = [row for row in rows.values() if {ours, theirs} <= row.keys()]
            if both:
                means[f"{kind} over ours, {what}"] = geometric_mean(
                    row[theirs] / row[ours] for row in both
                )
    return means


def main(config: Config) -> dict[str, Any]:
    """Print and record a row for each model."""
    name = "benchmark_training" + (f"-{config.label}" if config.label else "")
    peer = Peer(config.torch) if config.torch and not config.smoke else None
    kinds = [k for k in config.kinds if peer or not k.startswith("torch")]
    if config.smoke:
        return measured("lenet", kinds, None, 0.0)
    lowering.keep_memory()
    rows = recorded(name).get("rows", {})
    for model in config.names:
        rows[model] = measured(model, kinds, peer, config.seconds)
        print(model, {k: round(v, 1) for k, v in rows[model].items()}, flush=True)
        save(name, {"rows": rows, **ratios(rows)})
    save_table(name, {m: {k: f"{v:.1f}" for k, v in row.items()} for m, row in rows.items()})
    print(ratios(rows))
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config))
