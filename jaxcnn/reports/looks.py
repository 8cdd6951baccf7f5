"""What a model has learnt, section by section: layers, filters, activations, patches, ascent."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxcnn import models, plots
from jaxcnn.functional.shapes import count_parameters
from jaxcnn.interpret.attribution.class_activation import activation_maps
from jaxcnn.interpret.layers import layer_shapes
from jaxcnn.interpret.patches import top_patches
from jaxcnn.reports.pages import Picture, Section, Table
from jaxcnn.reports.subjects import Subject, normal, shown

ROWS = 6  # layers whose activations are drawn
PATCHED = 3  # layers whose patches are shown
UNITS = 4  # channels of a layer whose patches are shown
BATCH = 64  # images at once
LOOKED_THROUGH = 2_000  # images of the data set that patches are looked for in, at most


def layers_section(about: Subject, directory: Path) -> Section:
    """The model as a table, and what it says of the images."""
    layers = models.summarize(about.model, about.images.shape[1:])
    rows = [
        (
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
            "x".join(map(str, layer.receptive_field)),
        )
        for layer in layers
    ]
    columns = ("layer", "kind", "output", "parameters", "multiply-adds", "receptive field (pixels)")
    text = (
        f"{count_parameters(about.variables['params']):,} parameters and "
        f"{sum(layer.multiply_adds for layer in layers):,} multiply-adds for one image of "
        f"{'x'.join(map(str, about.images.shape[1:]))}; {about.origin}."
    )
    table = Table(f"{len(rows)} layers", columns, rows, folded=len(rows) > 20)
    return Section("The model", text, [table])


def guesses_section(about: Subject, directory: Path) -> Section:
    """The images and the most probable classes of each."""
    found = np.asarray(jax.nn.softmax(about.logits(about.variables, about.images)))
    titles, rows = [], []
    for name, row in zip(about.captions, found, strict=True):
        best = np.argsort(-row)[:5]
        titles.append(f"{name}\n{about.classes[best[0]]} ({row[best[0]]:.0%})")
        rows.append((name, *(f"{about.classes[k]} {row[k]:.1%}" for k in best)))
    figure = plots.image_sheet(shown(about, about.images), titles)
    path = plots.save(figure, directory / "images.png")
    columns = ("image", *(f"guess {i + 1}" for i in range(len(rows[0]) - 1)))
    return Section(
        "The images",
        "As the model sees them, with the class that it takes for the most probable.",
        [
            Picture(path, f"The images: {', '.join(about.captions)}"),
            Table("Most probable classes", columns, rows),
        ],
    )


def filters_section(about: Subject, directory: Path) -> Section:
    """The kernels of the first convolution as pictures, and of the second one by one."""
    kernels = list(_kernels(about))
    pictures = []
    if kernels:
        name, kernel = kernels[0]
        path = plots.save(plots.filter_grid(kernel), directory / "filters.png")
        pictures.append(Picture(path, f"The filters of {name}", f"{name}: {_size(kernel)}"))
    deeper = [(n, k) for n, k in kernels[1:] if k.shape[2] > 1 and min(k.shape[:2]) > 1]
    if deeper:
        name, kernel = deeper[0]
        figure = plots.filter_grid(kernel, per_channel=True)
        path = plots.save(figure, directory / "filters_deeper.png")
        caption = f"{name}: {_size(kernel)}, each input channel (row) of each filter (column)"
        pictures.append(Picture(path, f"The filters of {name}, channel by channel", caption))
    if not pictures:
        return Section("Filters", "The model has no convolution.")
    text = "Each tile is scaled to its own range: tiles compare in pattern, not in strength."
    return Section("Filters", text, pictures)


def _size(kernel: Array) -> str:
    return f"{kernel.shape[3]} filters of {'x'.join(map(str, kernel.shape[:3]))}"


def _kernels(about: Subject) -> Iterator[tuple[str, Array]]:
    """The kernels of the convolutions in the order of the flow."""
    for layer in models.summarize(about.model, about.images.shape[1:]):
        module = about.variables["params"]
        for name in layer.name.split("/"):
            module = module.get(name, {})
        kernel = module.get("kernel")
        if kernel is not None and kernel.ndim == 4:
            yield layer.name, kernel


def drawn_layers(apply: Callable[..., Any], variables: Any, x: Array, n: int) -> list[str]:
    """n layers of feature maps, or all if there are fewer, spread over the flow.

    Of the layers in a row that give maps of one size the last stands for all, where there are
    enough sizes.
    """
    shapes = layer_shapes(Partial(apply, variables), x)
    maps = [name for name, shape in shapes.items() if len(shape.shape) == 4]
    ends = [
        a
        for a, b in zip(maps, [*maps[1:], None], strict=True)
        if b is None or shapes[a].shape[1:] != shapes[b].shape[1:]
    ]
    pool = ends if len(ends) >= n else maps
    places = np.unique(np.linspace(0, len(pool) - 1, n).round().astype(int))
    return [pool[i] for i in places]


def activations_section(about: Subject, directory: Path) -> Section:
    """Each image, layer by layer."""
    chosen = drawn_layers(about.logits, about.variables, about.images, ROWS)
    f = Partial(about.logits, about.variables)
    maps = activation_maps(f, about.images, chosen)
    pictures = []
    for i, caption in enumerate(about.captions):
        figure = plots.activation_sheet({name: np.asarray(y[i]) for name, y in maps.items()})
        path = plots.save(figure, directory / f"activations_{i + 1}.png")
        pictures.append(Picture(path, f"Activations for {caption}", caption))
    text = "The strongest channels of some layers, from the image (above) to the classes (below)."
    return Section("Activations, layer by layer", text, pictures)


def patches_section(about: Subject, directory: Path) -> Section:
    """What in the data set, or else in the images, activates channels most."""
    f = Partial(about.logits, about.variables)
    if about.dataset is None:
        batches, where = [about.images], "the images above"
    else:
        pixels = about.dataset.test.images[:LOOKED_THROUGH]
        batches = [normal(about, pixels[i : i + BATCH]) for i in range(0, len(pixels), BATCH)]
        where = f"{len(pixels):,} test images"
    pictures = []
    for name in drawn_layers(about.logits, about.variables, about.images, PATCHED):
        maps = activation_maps(f, about.images, [name])[name]
        strongest = jnp.argsort(-maps.max(axis=(0, 1, 2)))[:UNITS].tolist()
        tiles, titles, k = [], [], min(9, sum(map(len, batches)))
        for channel in strongest:
            found = top_patches(f, name, channel, batches, k)
            tiles += list(shown(about, found.patches))
            titles += [f"channel {channel}: {score:.2f}" for score in found.scores]
        figure = plots.image_sheet(np.stack(tiles), titles, columns=k)
        path = plots.save(figure, directory / f"patches_{name.replace('/', '_')}.png")
        h, w = tiles[0].shape[:2]
        caption = f"{name}: patches of {h}x{w} pixels, the receptive field; above each its score"
        pictures.append(Picture(path, f"Top patches of {name}", caption))
    text = (
        f"The patches of {where} that activate a channel most, one an image at most; the channels "
        "are those that the images above activate most."
    )
    return Section("Top patches", text, pictures)
