"""Photos as the nets of published weights take them."""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from jaxcnn.data.images import center_crop, normalize, read_image, resize_shorter, to_channels
from jaxcnn.weights.imagenet import Preprocessing


def preprocess(
    images: Sequence[str | os.PathLike[str] | UInt8[np.ndarray, "_ _ _"]]
    | UInt8[np.ndarray, "_ _ _ _"],
    preprocessing: Preprocessing,
) -> Float32[np.ndarray, "b crop crop 3"]:
    """Images resized, cropped and normalized as a net's weights want them.

    The shorter side is resized, the middle cropped out (with black around it where it is smaller),
    scaled to [0, 1], and normalized: the same numbers as torchvision's preset
    `ImageClassification` gives of a PIL image.

    Args:
        images: files, or pixels h w c of 1 or 3 channels, RGB; their sizes may differ.
        preprocessing: of `jaxcnn.weights.preprocessing`.

    Raises:
        FileNotFoundError: a file that is not there.
        ValueError: a file that is no image.

    Example:
        >>> from jaxcnn.weights import preprocessing
        >>> white = np.full((1, 300, 500, 3), 255, np.uint8)
        >>> x = preprocess(white, preprocessing("googlenet"))
        >>> x.shape, x.min().item(), x.max().item()
        ((1, 224, 224, 3), 1.0, 1.0)

    """
    crop = preprocessing.crop
    pixels = np.empty((len(images), crop, crop, 3), np.uint8)
    for i, image in enumerate(images):
        pixels[i] = _middle(image, preprocessing)
    ordered = pixels if preprocessing.channels == "RGB" else pixels[..., ::-1]
    return np.asarray(normalize(ordered, preprocessing.mean, preprocessing.std))


def _middle(image: str | os.PathLike[str] | np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    pixels = to_channels(image, 3) if isinstance(image, np.ndarray) else read_image(image, 3)
    resized = resize_shorter(
        pixels[None], preprocessing.resize, interpolation=preprocessing.interpolation
    )
    return center_crop(resized, (preprocessing.crop, preprocessing.crop))[0]
