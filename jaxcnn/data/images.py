"""Single steps on images: size, channels, scale, and reading one from a file."""

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jax import Array
from jaxtyping import Float32, UInt8

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

ROTATED = (5, 6, 7, 8)  # EXIF orientations that turn the picture by a quarter
GRAY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes


def resize(
    images: UInt8[np.ndarray, "b h w c"], size: tuple[int, int]
) -> UInt8[np.ndarray, "b h_out w_out c"]:
    """Images of another size, by Pillow's bilinear filter.

    Between pixels it interpolates; where the image shrinks the filter widens with it, so that
    nothing aliases. torchvision's `resize(antialias=True)` does the same.

    Args:
        images: any number of channels.
        size: (height, width) in pixels.

    Returns:
        new images; the same array where the size is already right.

    Raises:
        ValueError: a size below one pixel.

    Example:
        >>> resize(np.array([0, 100], np.uint8).reshape(1, 1, 2, 1), (1, 4)).ravel().tolist()
        [0, 25, 75, 100]

    """
    from PIL import Image

    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"resize: size must be at least one pixel each way, got {size}.")
    b, h, w, c = images.shape
    if (h, w) == (height, width):
        return images
    if 0 in (h, w):
        raise ValueError(f"resize: images have no pixels, got {images.shape}.")
    resized = np.empty((b, height, width, c), np.uint8)
    together = c == 3  # Pillow resizes RGB in one go, and anything else channel by channel
    for i in range(b):
        planes = [images[i]] if together else [images[i, ..., k] for k in range(c)]
        smooth = [
            np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BILINEAR))
            for p in planes
        ]
        resized[i] = smooth[0] if together else np.stack(smooth, axis=-1)
    return resized


def to_channels(
    images: UInt8[np.ndarray, "*b h w c"], channels: int
) -> UInt8[np.ndarray, "*b h w channels"]:
    """Gray images as RGB or RGB images as gray.

    Gray is ITU-R 601 luma, 0.299 R + 0.587 G + 0.114 B, rounded as Pillow rounds it.

    Args:
        images: 1 or 3 channels.
        channels: 1 or 3.

    Returns:
        new images; the same array where the channels are already right.

    Raises:
        ValueError: any other number of channels.

    Example:
        >>> red = np.array([255, 0, 0], np.uint8).reshape(1, 1, 1, 3)
        >>> to_channels(red, 1).ravel().tolist()
        [76]

    """
    c = images.shape[-1]
    if c == channels:
        return images
    if {c, channels} != {1, 3}:
        raise ValueError(f"to_channels: converts between 1 and 3 channels, got {c} to {channels}.")
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    weights = np.array([19595, 38470, 7471], np.uint32)  # of 2^16; their sum is exactly that
    luma = images.astype(np.uint32) @ weights + 2**15
    return (luma >> 16).astype(np.uint8)[..., None]


def normalize(
    images: UInt8[np.ndarray | Array, "*b h w c"],
    mean: Sequence[float],
    std: Sequence[float],
) -> Float32[np.ndarray | Array, "*b h w c"]:
    """(x / 255 - mean) / std in each channel.

    Args:
        images: NumPy's or JAX's; works under jit.
        mean: one number per channel, of images scaled to [0, 1].
        std: likewise.

    Returns:
        float32 of the kind that came in.

    Raises:
        ValueError: statistics that do not fit the channels, or a deviation of zero.

    Example:
        >>> x = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1, 1)
        >>> normalize(x, (0.2,), (0.4,)).ravel().tolist()
        [-0.5, 0.0, 2.0]

    """
    c = images.shape[-1]
    if len(mean) != c or len(std) != c:
        raise ValueError(
            f"normalize: mean and std need one number for each of {c} channels, "
            f"got {len(mean)} and {len(std)}."
        )
    if min(std, default=1.0) <= 0:
        raise ValueError(f"normalize: std must be positive, got {tuple(std)}.")
    scaled = images.astype(np.float32) / np.float32(255)
    return (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def read_image(
    path: str | os.PathLike[str], channels: int, size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w channels"]:
    """One image from a file of any format that Pillow knows, upright.

    Transparent parts are laid on white, 16-bit gray keeps its upper 8 bits, and of an animation
    the first frame counts.

    Args:
        path: the file.
        channels: 1 (gray) or 3 (RGB).
        size: (height, width) in pixels to resize to; None keeps the image's own.

    Returns:
        pixels 0..255.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no image, a truncated or corrupt one, or one of 32-bit pixels.
    """
    if channels not in (1, 3):
        raise ValueError(f"read_image: channels must be 1 or 3, got {channels}.")
    image = _decode(path, channels)
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    return np.array(pixels) if size is None else resize(pixels[None], size)[0]


def image_header(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """(height, width, channels) of an upright image, without decoding its pixels."""
    return _with_image(path, _header)


def _header(image: "Image") -> tuple[int, int, int]:
    width, height = image.size
    if image.getexif().get(0x0112) in ROTATED:
        width, height = height, width
    return height, width, 1 if image.mode in GRAY else 3


def _decode(path: str | os.PathLike[str], channels: int) -> "Image":
    return _with_image(path, lambda image: _flatten(image, channels))


def _flatten(image: "Image", channels: int) -> "Image":
    """Upright, without transparency, 8 bits, gray or RGB."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # `convert` would cut everything above 255 to white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits, 8 or 16 are read")
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return image.convert("L" if channels == 1 else "RGB")


def _with_image(path: str | os.PathLike[str], use: Callable[["Image"], T]) -> T:
    """use(the opened image), every failure told in terms of the file."""
    from PIL import Image, UnidentifiedImageError

    if not Path(path).is_file():
        raise FileNotFoundError(f"read_image: there is no file {os.fspath(path)}.")
    try:
        with Image.open(path) as image:
            return use(image)
    except UnidentifiedImageError:
        what = "is no image that Pillow can read" if Path(path).stat().st_size else "is empty"
        raise ValueError(f"read_image: {os.fspath(path)} {what}.") from None
    # Pillow's decoders let all of these through when a file is damaged.
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(
            f"read_image: {os.fspath(path)} cannot be decoded, it may be truncated or corrupt: "
            f"{error}."
        ) from error
