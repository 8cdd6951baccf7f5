import numpy as np
import pytest

from helpers import assert_close
from jaxcnn.data.datasets import Split, from_splits, statistics
from jaxcnn.data.pictures import Pictures


def split(n, classes=2, size=(3, 3, 1), seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (n, *size), np.uint8)
    return Split(images, (np.arange(n) % classes).astype(np.int32))


def test_statistics_are_those_of_the_floats():
    images = split(2100, size=(5, 4, 3)).images  # more than one chunk
    mean, std = statistics(images)
    scaled = images / 255.0
    assert_close(mean, scaled.mean(axis=(0, 1, 2)), "float64")
    assert_close(std, scaled.std(axis=(0, 1, 2)), "float64")
    assert all(type(v) is float for v in mean + std)


def test_statistics_of_a_constant_channel():
    mean, std = statistics(np.full((2, 3, 3, 1), 51, np.uint8))
    assert_close(mean, [0.2], "float64")
    assert std == (1.0,)


def test_statistics_of_pictures_that_cannot_be_read(tmp_path):
    (tmp_path / "0.png").write_bytes(b"no image")
    pictures = Pictures(tmp_path, np.array([b"0.png"]), (3, 3), 1, skip_corrupt=True)
    with (
        pytest.warns(UserWarning, match="0.png is no image"),
        pytest.raises(ValueError, match="statistics: none of 1 images has pixels that can be read"),
    ):
        statistics(pictures)


def test_from_splits():
    dataset = from_splits("two", split(6), split(4, seed=1), ["a", "b"])
    assert (dataset.name, dataset.classes) == ("two", ("a", "b"))
    assert (len(dataset.train), len(dataset.test)) == (6, 4)
    assert (dataset.mean, dataset.std) == statistics(dataset.train.images)
    with pytest.raises(AttributeError):
        dataset.name = "other"


def test_errors(unchecked):
    images, labels = np.zeros((3, 2, 2, 1), np.uint8), np.zeros(3, np.int32)
    with pytest.raises(ValueError, match=r"Split: images must be uint8 .* got float64"):
        Split(images / 1.0, labels)
    with pytest.raises(ValueError, match=r"Split: images must be uint8 .*\(3, 2, 2\)"):
        Split(images[..., 0], labels)
    with pytest.raises(ValueError, match=r"labels must be int32, one for each of 3 images, .*\(2,"):
        Split(images, labels[:2])
    with pytest.raises(ValueError, match="labels must be int32.* got int64"):
        Split(images, labels.astype(np.int64))
    with pytest.raises(ValueError, match="two: the test split is empty"):
        from_splits("two", split(2), split(0), ["a", "b"])
    with pytest.raises(ValueError, match=r"two: train labels must lie in 0..1, got 0..2"):
        from_splits("two", split(6, classes=3), split(2), ["a", "b"])
    with pytest.raises(ValueError, match="two: train and test images need one size"):
        from_splits("two", split(2), split(2, size=(3, 4, 1)), ["a", "b"])
