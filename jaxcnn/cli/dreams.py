"""The verb `dream`: a photo in which a layer sees more of what it sees."""

import time
from pathlib import Path
from typing import Annotated

import jax
import tyro
from jax.tree_util import Partial

from jaxcnn import models
from jaxcnn import weights as published
from jaxcnn.interpret.ascent.photos import Net, dream_photo, save_photo
from jaxcnn.train import load_run


def dream(
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH ...")],
    model: str | None = None,
    weights: str | None = None,
    layer: str | None = None,
    size: int | None = None,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 10,
    step_size: float = 0.03,
    jitter: int = 32,
    tile: int | None = None,
    seed: int = 0,
    out: Path = Path("dream.png"),
) -> int:
    """Deep dream on a photo: dream RUN PHOTO, or --model NAME --weights FILE PHOTO

    Args:
        paths: A run directory, whose best checkpoint is used, and a photo; with a model and its
            weights, the photo alone.
        model: Model by name; its images are prepared as its published weights want them.
        weights: Its weights: a file of torchvision's, timm's or ours, or hub:OWNER/NAME@...
        layer: Layer that sees more, such as features/13; by default one of the last.
        size: Longer side of the picture in pixels; by default the photo's, 640 at most.
        octaves: Sizes that are dreamt at, one after another.
        octave_scale: How many times as large each is as the one before.
        steps: Steps at each size.
        step_size: How far a step goes, in standard deviations of the net's images.
        jitter: Each step sees the photo shifted by up to so many pixels.
        tile: Gradients are computed on squares of so many pixels, which bounds the memory.
        seed: Of the random shifts.
        out: File to write.
    """
    if (model is None) != (weights is None):
        raise ValueError(f"dream: --model and --weights go together, got {model or weights} alone.")
    wanted = 1 if model is not None else 2
    if len(paths) != wanted:
        what = "one photo" if wanted == 1 else "a run and one photo"
        raise ValueError(f"dream: needs {what}, got {len(paths)} paths.")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"dream: there is no directory {out.parent} for {out.name}.")
    began = time.perf_counter()
    found = dream_photo(
        _net_of_run(paths[0]) if model is None or weights is None else _net(model, weights),
        paths[-1],
        layer=layer,
        size=size,
        octaves=octaves,
        octave_scale=octave_scale,
        steps=steps,
        step_size=step_size,
        jitter=jitter,
        tile=tile,
        seed=seed,
    )
    save_photo(out, found.pixels)
    for (h, w), scores in zip(found.sizes, found.scores, strict=True):
        if len(scores):
            print(f"{h}x{w}: mean square of {found.layer} {scores[0]:.4g} to {scores[-1]:.4g}")
    print(f"{time.perf_counter() - began:.1f} s")
    print(f"Picture: {out}")
    return 0


def _net(name: str, source: str) -> Net:
    how = published.preprocessing(name, source)
    model, variables = published.pretrained(name, source)
    entry = models.entry(name)
    f = Partial(model.apply, jax.device_put(variables))
    return Net(f, entry.input_shape, how.mean, how.std, entry.stages, how.channels)


def _net_of_run(directory: Path) -> Net:
    run = load_run(directory)
    f = Partial(run.model.apply, run.variables)
    stages = models.entry(run.config.model).stages
    return Net(f, run.input.shape, run.input.mean, run.input.std, stages)
