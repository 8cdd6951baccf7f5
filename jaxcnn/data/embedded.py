"""The two sources that need no files: real digits, and gratings drawn from a seed."""

import numpy as np

from jaxcnn.data.batching import split_validation
from jaxcnn.data.datasets import Dataset, Split, from_splits

TEST_SEED = 0  # of the held-out digits; changing it changes every published accuracy


def load_digits() -> Dataset:
    """scikit-learn's 1797 real handwritten digits, 8x8 gray; a stratified fifth is the test.

    The pixels' 17 levels 0..16 are spread over 0..255. The test split is always the same 359.

    Reference:
        Alpaydin & Kaynak (1998), Optical recognition of handwritten digits, UCI repository
        (its test part), as `sklearn.datasets.load_digits` carries it.
    """
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    images = np.rint(np.reshape(pixels, (-1, 8, 8, 1)) * (255 / 16)).astype(np.uint8)
    every = Split(images, np.asarray(labels).astype(np.int32))
    train, test = split_validation(every, 0.2, seed=TEST_SEED)
    return from_splits("digits", train, test, [str(d) for d in range(10)])


def load_synthetic() -> Dataset:
    """Coloured gratings, 32x32x3: 400 to train and 100 to test, for trying things out.

    Class k of 10 has stripes turned by 18 k degrees. Phase, wavelength, two colours and noise are
    random, so that no single pixel tells the class but its orientation does.
    """
    rng = np.random.default_rng(0)
    train, test = _gratings(rng, 40), _gratings(rng, 10)
    return from_splits("synthetic", train, test, [f"{18 * k} degrees" for k in range(10)])


def _gratings(rng: np.random.Generator, per_class: int) -> Split:
    labels = np.tile(np.arange(10, dtype=np.int32), per_class)
    n = len(labels)
    angle = np.pi / 10 * labels[:, None, None]
    wavelength = 5 + 3 * rng.random((n, 1, 1))  # pixels
    phase = 2 * np.pi * rng.random((n, 1, 1))
    y, x = np.mgrid[:32, :32]
    across = x * np.cos(angle) + y * np.sin(angle)
    stripes = 0.5 + 0.5 * np.sin(2 * np.pi * across / wavelength + phase)
    dark, light = 100 * rng.random((n, 1, 1, 3)), 155 + 100 * rng.random((n, 1, 1, 3))
    noise = 60 * (rng.random((n, 32, 32, 3)) - 0.5)
    images = dark + (light - dark) * stripes[..., None] + noise
    return Split(np.clip(np.rint(images), 0, 255).astype(np.uint8), labels)
