import pickle
import re

import numpy as np
import pytest

from jaxcnn.data.batching import split_validation
from jaxcnn.data.datasets import Split
from jaxcnn.data.images import read_image
from jaxcnn.data.pictures import Pictures, evenly


@pytest.fixture
def pictures(write_folder):
    root = write_folder(7)
    names = sorted(str(p.relative_to(root)) for p in root.glob("*/*.png"))
    return Pictures(root, np.array([name.encode() for name in names]), (6, 5), 3)


@pytest.fixture
def pixels(pictures):
    return np.stack([read_image(pictures.root / f.decode(), 3) for f in pictures.files])


INDICES = [
    3,
    -1,
    np.int64(2),
    slice(None),
    slice(1, 6, 2),
    slice(9, 12),
    [4, 0, 4],
    np.array([6, -2]),
    np.array([], int),
    np.array([True, False] * 3 + [True]),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_they_index_like_the_array(pictures, pixels, index):
    found = pictures[index]
    assert found.dtype == pictures.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels[index])


def test_they_look_like_the_array(pictures, pixels):
    assert (pictures.shape, pictures.ndim, len(pictures)) == (pixels.shape, 4, 7)
    with pytest.raises(IndexError):
        pictures[7]
    np.testing.assert_array_equal(np.stack(list(pictures)), pixels)


def test_select_reads_nothing(pictures, pixels):
    mask = np.arange(7) % 3 == 1
    for path in pictures.root.glob("b/*"):
        path.rename(path.with_suffix(".later"))
    chosen = pictures.select(mask).select(slice(None, None, -1))
    for path in pictures.root.glob("b/*"):
        path.rename(path.with_suffix(".png"))
    np.testing.assert_array_equal(chosen[:], pixels[mask][::-1])


def test_split_validation_stays_on_the_disk(pictures, pixels):
    labels = np.array([0, 0, 0, 0, 1, 1, 1], np.int32)
    parts = split_validation(Split(pictures, labels), 0.3, seed=1)
    expected = split_validation(Split(pixels, labels), 0.3, seed=1)
    for lazy, read in zip(parts, expected, strict=True):
        assert isinstance(lazy.images, Pictures)
        np.testing.assert_array_equal(lazy.images[:], read.images)
        np.testing.assert_array_equal(lazy.labels, read.labels)


def test_they_travel_without_their_pixels(pictures, pixels):
    sent = pickle.dumps(pictures)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)[:], pixels)


@pytest.mark.parametrize("threads", [1, 3])
def test_what_cannot_be_read(pictures, pixels, threads):
    broken = pictures.root / pictures.files[2].decode()
    broken.write_bytes(broken.read_bytes()[:80])
    chosen = np.array([1, 2, 5])
    with pytest.raises(
        ValueError, match=rf"read_image: {re.escape(str(broken))} cannot be decoded"
    ):
        pictures.read(chosen, threads)
    skipping = Pictures(pictures.root, pictures.files, (6, 5), 3, skip_corrupt=True)
    images, faults = skipping.read(chosen, threads)
    np.testing.assert_array_equal(images, pixels[chosen] * (chosen != 2)[:, None, None, None])
    assert list(faults) == [1]
    assert str(broken) in faults[1]
    broken.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no file {broken}")):
        skipping.read(chosen, threads)


def test_each_is_warned_of_once(pictures):
    for i in (2, 4):
        (pictures.root / pictures.files[i].decode()).write_bytes(b"no image")
    skipping = Pictures(pictures.root, pictures.files, (6, 5), 3, skip_corrupt=True)
    with pytest.warns(UserWarning, match="It is left out") as told:
        skipping[:]
    skipping[:]
    skipping.select(np.array([2, 0]))[:]
    assert [re.search(r": (.+\.png) ", str(w.message))[1] for w in told] == [
        str(pictures.root / pictures.files[i].decode()) for i in (2, 4)
    ]


def test_a_size_without_pixels(tmp_path):
    with pytest.raises(ValueError, match=r"Pictures: size must be at least one pixel .*\(0, 5\)"):
        Pictures(tmp_path, np.array([b"0.png"]), (0, 5), 3, skip_corrupt=True)


@pytest.mark.parametrize(("n", "count"), [(0, 3), (1, 3), (5, 5), (1000, 256), (257, 256)])
def test_evenly_has_no_place_twice(n, count):
    places = evenly(n, count)
    assert len(set(places.tolist())) == min(n, count)
    assert not n or (places[0], places[-1]) == (0, n - 1)
    assert len(set(np.diff(places).tolist())) <= 2
