"""Single steps on images: size, channels, scale, and reading one from a file."""

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np
from jax import Array
from jaxtyping import Float32, UInt8

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
Interpolation = Literal["bilinear", "bicubic"]

ROTATED = (5, 6, 7, 8)  # EXIF orientations that turn the picture by a quarter
GRAY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes


def resize(
    images: UInt8[np.ndarray, "b h w c"],
    size: tuple[int, int],
    *,
    interpolation: Interpolation = "bilinear",
) -> UInt8[np.ndarray, "b h_out w_out c"]:
    """Images of another size, by Pillow's filters.

    Between pixels it interpolates; where the image shrinks the filter widens with it, so that
    nothing aliases. torchvision's `resize(antialias=True)` does the same.

    Args:
        images: any number of channels.
        size: (height, width) in pixels.
        interpolation: "bilinear" (a triangle of one pixel to either side) or "bicubic" (Keys'
            cubic with a = -1/2, two pixels).

    Returns:
        new images; the same array where the size is already right.

    Raises:
        ValueError: a size below one pixel, or another interpolation.

    Example:
        >>> resize(np.array([0, 100], np.uint8).reshape(1, 1, 2, 1), (1, 4)).ravel().tolist()
        [0, 25, 75, 100]

    """
    from PIL import Image

    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"resize: size must be at least one pixel each way, got {size}.")
    if interpolation not in get_args(Interpolation):
        raise ValueError(
            f"resize: interpolation must be bilinear or bicubic, got {interpolation!r}."
        )
    b, h, w, c = images.shape
    if (h, w) == (height, width):
        return images
    if 0 in (h, w):
        raise ValueError(f"resize: images have no pixels, got {images.shape}.")
    resized = np.empty((b, height, width, c), np.uint8)
    resample = Image.Resampling[interpolation.upper()]
    together = c == 3  # Pillow resizes RGB in one go, and anything else channel by channel
    for i in range(b):
        planes = [images[i]] if together else [images[i, ..., k] for k in range(c)]
        smooth = [np.asarray(Image.fromarray(p).resize((width, height), resample)) for p in planes]
        resized[i] = smooth[0] if together else np.stack(smooth, axis=-1)
    return resized


def resize_shorter(
    images: UInt8[np.ndarray, "b h w c"],
    length: int,
    *,
    interpolation: Interpolation = "bilinear",
) -> UInt8[np.ndarray, "b h_out w_out c"]:
    """Images whose shorter side has that length, their proportions kept.

    The longer side is rounded down to whole pixels, as torchvision's `Resize` rounds it.

    Args:
        images: any number of channels.
        length: in pixels.
        interpolation: as for `resize`.

    Returns:
        new images; the same array where the size is already right.

    Raises:
        ValueError: a length below one pixel, or another interpolation.

    Example:
        >>> resize_shorter(np.zeros((1, 20, 33, 1), np.uint8), 10).shape
        (1, 10, 16, 1)

    """
    _, h, w, _ = images.shape
    if 0 in (h, w):
        raise ValueError(f"resize_shorter: images have no pixels, got {images.shape}.")
    longer = length * max(h, w) // min(h, w)
    size = (length, longer) if h <= w else (longer, length)
    return resize(images, size, interpolation=interpolation)


def center_crop(
    images: UInt8[np.ndarray, "b h w c"], size: tuple[int, int]
) -> UInt8[np.ndarray, "b h_out w_out c"]:
    """The middle of images, with black around those that are smaller.

    Where the margins are not alike: a margin of n pixels in all, n odd, leaves the even one of
    n/2 - 1/2 and n/2 + 1/2 at the top or left; black is added the other way round, the larger part
    below or right. So does torchvision's `CenterCrop`.

    Args:
        images: any number of channels.
        size: (height, width) in pixels.

    Returns:
        images of that size.

    Raises:
        ValueError: a size below one pixel.

    Example:
        >>> row = np.array([1, 2, 3, 4], np.uint8).reshape(1, 1, 4, 1)
        >>> center_crop(row, (1, 2)).ravel().tolist(), center_crop(row, (1, 7)).ravel().tolist()
        ([2, 3], [0, 1, 2, 3, 4, 0, 0])

    """
    if min(size) < 1:
        raise ValueError(f"center_crop: size must be at least one pixel each way, got {size}.")
    missing = [max(wanted - n, 0) for wanted, n in zip(size, images.shape[1:3], strict=True)]
    around = [(m // 2, m - m // 2) for m in missing]
    padded = np.pad(images, [(0, 0), *around, (0, 0)])
    # `round` takes a half to the even neighbour.
    top, left = (round((n - s) / 2) for n, s in zip(padded.shape[1:3], size, strict=True))
    return padded[:, top : top + size[0], left : left + size[1]]


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
    images: UInt8[np.ndarray | Array, "*b h w c"] | Float32[np.ndarray | Array, "*b h w c"],
    mean: Sequence[float],
    std: Sequence[float],
) -> Float32[np.ndarray | Array, "*b h w c"]:
    """(x / 255 - mean) / std in each channel.

    Args:
        images: NumPy's or JAX's, of pixels 0 to 255; works under jit.
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
