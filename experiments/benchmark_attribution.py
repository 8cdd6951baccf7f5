"""Attributions beside Captum's, for the same weights, images and class.

`ours` is a call of the compiled program, as a user makes it; `captum` takes its defaults, which
hold all noisy copies (50) and all steps of the path (32) in memory at once, and cover one window at
a time. `captum other` is the other way: one copy or step at a time, as ours do, and 8 windows at
once. Its guided backpropagation and deconvolution do not know the ReLU6 of MobileNetV2 and are left
out there. All take turns, PyTorch in a process of its own.

Command:  python experiments/benchmark_attribution.py
Hardware: 2 CPU cores (AMD EPYC), jax 0.10.2, torch 2.13, Captum 0.9, float32
Time:     3 min with --seconds 4
Result:   After compilation ours are ahead of Captum's faster way in 13 of 14 rows, by 1.15 to 2.2;
          occlusion of MobileNetV2 takes 1.7 times as long as Captum with 8 windows at once, 0.83 of
          its default's time. The first call takes 0.4 to 4 s. (results/benchmark_attribution.md)
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import zoo_recipe as recipe
from jax import Array
from jax.tree_util import Partial
from recording import recorded, save, save_table
from timing import TORCH, Call, Peer, interleaved

from jaxcnn import models, weights
from jaxcnn.interpret.attribution.class_activation import grad_cam
from jaxcnn.interpret.attribution.gradients import grad_times_input, saliency, smooth_grad
from jaxcnn.interpret.attribution.integrated import integrated_gradients
from jaxcnn.interpret.attribution.occlusions import occlusion
from jaxcnn.interpret.backprop import deconvnet, guided_backprop

NETS = {  # images, pixels, classes, layer of Grad-CAM, window of occlusion
    "lenet": (16, 28, 10, "relu2", 4),
    "mobilenet_v2": (1, 224, 1000, "features", 32),
}
PLACES = {"conv1": 0, "conv2": 3, "dense1": 7, "dense2": 9, "logits": 11}  # in PyTorch's LeNet
TARGET = 3
METHODS = (
    "saliency", "grad_times_input", "smooth_grad", "integrated_gradients", "occlusion", "grad_cam",
    "guided_backprop", "deconvnet",
)  # fmt: skip
QUICK = ("saliency", "grad_cam")
COLUMNS = ("first call s", "ours ms", "captum ms", "captum other ms", "best captum / ours")


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run."""

    names: tuple[str, ...] = tuple(NETS)
    """Models."""
    methods: tuple[str, ...] = METHODS
    """Methods; of the others, rows that are recorded stay."""
    torch: str = TORCH
    """A Python that has PyTorch, torchvision and Captum, this one or another; none where empty."""
    seconds: float = 10.0
    """How long the turns of one method last, about."""
    label: str = ""
    """Ending of the record's name, for another machine or version."""
    smoke: bool = False
    """Two methods on LeNet, nothing written."""


def ours(f: Callable[[Array], Array], x: Array, layer: str, window: int) -> dict[str, Call]:
    """Each method, by its function's name."""
    key = jax.random.key(0)
    methods = {
        "saliency": saliency,
        "grad_times_input": grad_times_input,
        "smooth_grad": partial(smooth_grad, key=key),
        "integrated_gradients": integrated_gradients,
        "occlusion": partial(occlusion, window=window, stride=window),
        "grad_cam": partial(grad_cam, layer=layer),
        "guided_backprop": guided_backprop,
        "deconvnet": deconvnet,
    }
    return {
        name: partial(lambda method: jax.block_until_ready(method(f, x)), method)
        for name, method in methods.items()
    }


def theirs(peer: Peer | None, name: str, state: Any, x: np.ndarray) -> dict[str, Call]:
    """Captum's, by our names."""
    if peer is None:
        return {}
    if name == "lenet":
        # PyTorch flattens channels first.
        hidden = state["dense1.weight"].reshape(-1, 5, 5, 16).transpose(0, 3, 1, 2)
        state = state | {"dense1.weight": hidden.reshape(len(hidden), -1)}
        names = ((key, *key.split(".")) for key in state)
        state = {f"{PLACES[module]}.{what}": state[key] for key, module, what in names}
    with tempfile.TemporaryDirectory() as directory:
        files = Path(directory) / "state.npz", Path(directory) / "images.npy"
        np.savez(files[0], **state)
        np.save(files[1], x)
        paths = {"state": str(files[0]), "images": str(files[1])}
        return peer.calls("attribution", name=name, target=TARGET, window=NETS[name][-1], **paths)


def measured(
    config: Config, name: str, peer: Peer | None
) -> Iterator[tuple[str, dict[str, float]]]:
    """Of each method, milliseconds for one model and the seconds of our first call."""
    batch, size, classes, layer, window = NETS[name]
    state = recipe.state(name, classes)
    x = recipe.draw("images", batch, size, size, models.entry(name).input_shape[2])
    model = models.create(name, num_classes=classes)

    def score(variables: Any, x: Array) -> Array:
        logits = model.apply(variables, x)
        assert isinstance(logits, Array)
        return logits[:, TARGET]

    f = Partial(score, jax.tree.map(jnp.asarray, weights.from_torch(name, state)))
    calls, others = ours(f, jnp.asarray(x), layer, window), theirs(peer, name, state, x)
    for method in QUICK if config.smoke else config.methods:
        began = perf_counter()
        calls[method]()
        row = {"first call s": perf_counter() - began}
        turns = {"ours": calls[method]}
        for kind, of in (("captum", method), ("captum other", f"{method}, other")):
            if of in others:
                turns[kind] = others[of]
        taken = interleaved(turns, 0.0 if config.smoke else config.seconds)
        row |= {f"{kind} ms": 1e3 * seconds for kind, seconds in taken.items()}
        if "captum" in taken:
            best = min(seconds for kind, seconds in taken.items() if kind != "ours")
            row["best captum / ours"] = best / taken["ours"]
        print(f"{name} {method}", {k: round(v, 2) for k, v in row.items()}, flush=True)
        yield f"{name} {method}", row


def main(config: Config) -> dict[str, Any]:
    """Print and record a row for each model and method."""
    peer = Peer(config.torch) if config.torch and not config.smoke else None
    if config.smoke:
        return dict(measured(config, "lenet", peer))
    record = "benchmark_attribution" + (f"-{config.label}" if config.label else "")
    found = recorded(record).get("rows", {})
    for name in config.names:
        for line, row in measured(config, name, peer):
            found[line] = row
            lines = [f"{n} {method}" for n in NETS for method in METHODS]
            rows = {line: found[line] for line in lines if line in found}
            result: dict[str, Any] = {"rows": rows}
            ratios = [r["best captum / ours"] for r in rows.values() if "best captum / ours" in r]
            if ratios:
                result |= {"geometric mean": geometric_mean(ratios), "least": min(ratios)}
            save(record, result)
            told = {
                line: {c: f"{row[c]:.2f}" if c in row else "" for c in COLUMNS}
                for line, row in rows.items()
            }
            save_table(record, told)
        if peer:
            peer.forget()
    return found


if __name__ == "__main__":
    main(tyro.cli(Config))
