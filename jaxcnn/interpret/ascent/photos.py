"""A photo dreamt: read and prepared as a net takes it, dreamt, and made a picture again."""

import math
import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from jax import Array
from jaxtyping import Float, UInt8

from jaxcnn import data
from jaxcnn.interpret.ascent.dreams import deep_dream, octave_sizes
from jaxcnn.interpret.ascent.objectives import layer_score
from jaxcnn.interpret.layers import last_maps

LONGEST = 640  # pixels, of a photo whose size is left open


class Net(NamedTuple):
    """A net of images, and how they are prepared for it."""

    f: Callable[[Array], Array]
    """Images to what the net gives."""
    shape: tuple[int, int, int]
    """h, w, c of its usual images."""
    mean: tuple[float, ...]
    """Of each channel of images scaled to [0, 1]."""
    std: tuple[float, ...]
    stages: tuple[str, ...] = ()
    """Layers where its stages end, if it has any."""
    channels: str = "RGB"
    """Or BGR; mean and std are in that order."""


class DreamtPhoto(NamedTuple):
    """A picture, and what it shows more of."""

    pixels: UInt8[np.ndarray, "h w c"]
    layer: str
    sizes: list[tuple[int, int]]
    """Height and width of each octave, in pixels."""
    scores: Float[np.ndarray, "octaves steps"]
    """Mean square of the layer, of the image that each step starts from."""


def dream_photo(
    net: Net,
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    size: int | None = None,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 10,
    step_size: float = 0.03,
    jitter: int = 32,
    tile: int | None = None,
    seed: int = 0,
) -> DreamtPhoto:
    """A photo in which a layer sees more of what it sees, by `deep_dream`.

    A net that takes images of one size only, as those with dense layers behind a map do, looks at
    tiles of that size, and at fewer octaves where the smallest would be less.

    Args:
        net: which net.
        path: the photo.
        layer: whose mean square grows; by default where the last stage but one ends, or else the
            last layer that has a map of more than one place.
        size: of the longer side, in pixels; by default the photo's own, 640 at most.
        octaves: as for `deep_dream`, and
        octave_scale: so too,
        steps: at each octave,
        step_size: in standard deviations of the net's images,
        jitter: in pixels,
        tile: in pixels; by default the whole image at once.
        seed: of the random shifts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no image, no such layer, or options out of their range.
    """
    pixels = data.read_image(path, net.shape[2])
    one_size = not _takes_any_size(net)
    if one_size:
        tile = net.shape[0]
    pixels = _resized(pixels, size, tile if one_size else None)
    if one_size:
        room = min(pixels.shape[:2]) / net.shape[0]
        octaves = min(octaves, 1 + math.floor(math.log(room, octave_scale)))
    layer = layer or _layer(net)
    mean, std = (np.asarray(values, np.float32) for values in (net.mean, net.std))
    ordered = pixels if net.channels == "RGB" else pixels[..., ::-1]
    found = deep_dream(
        layer_score(net.f, layer),
        jnp.asarray(data.normalize(ordered, net.mean, net.std))[None],
        octaves=octaves,
        octave_scale=octave_scale,
        steps=steps,
        step_size=step_size,
        jitter=jitter,
        tile=tile,
        limits=(-mean / std, (1 - mean) / std),
        key=jax.random.key(seed),
    )
    shown = np.asarray(found.images[0]) * std + mean
    dreamt = np.clip(np.round(255 * shown), 0, 255).astype(np.uint8)
    return DreamtPhoto(
        dreamt if net.channels == "RGB" else dreamt[..., ::-1],
        layer,
        octave_sizes(pixels.shape[0], pixels.shape[1], octaves, octave_scale),
        np.asarray(found.scores[..., 0]),
    )


def save_photo(path: str | os.PathLike[str], pixels: UInt8[np.ndarray, "h w c"]) -> None:
    """Write a picture to a file, whose ending says in which format.

    Raises:
        OSError: a folder that is not there.
        ValueError: an ending that Pillow does not know.
    """
    from PIL import Image

    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(path)


def _takes_any_size(net: Net) -> bool:
    h, w, c = net.shape
    try:
        jax.eval_shape(net.f, jax.ShapeDtypeStruct((1, 2 * h + 1, 2 * w + 1, c), jnp.float32))
    except (FlaxError, TypeError, ValueError):  # what a dense layer raises at another length
        return False
    return True


def _resized(pixels: np.ndarray, longest: int | None, smallest: int | None) -> np.ndarray:
    """The photo with that longer side, and a shorter one of at least `smallest` pixels."""
    h, w = pixels.shape[:2]
    scale = (longest or min(max(h, w), LONGEST)) / max(h, w)
    if smallest is not None:
        scale = max(scale, smallest / min(h, w))
    size = (round(h * scale), round(w * scale))
    return data.resize(pixels[None], size, interpolation="bicubic")[0]


def _layer(net: Net) -> str:
    if len(net.stages) > 1:
        return net.stages[-2]
    return last_maps(net.f, jax.ShapeDtypeStruct((1, *net.shape), jnp.float32))
