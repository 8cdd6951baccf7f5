import re

import numpy as np
import pytest
from PIL import Image

from jaxcnn.data.datasets import statistics
from jaxcnn.data.folders import load_folder
from jaxcnn.data.images import resize, to_channels
from jaxcnn.data.pictures import Pictures


def picture(path, *, size=(6, 5), channels=3, seed=0):
    """Writes a random picture and returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return pixels


def fill(root, classes=("b", "a"), n=5, **options):
    seeds = iter(range(100))
    return {
        f"{c}/{i}.png": picture(root / c / f"{i}.png", seed=next(seeds), **options)
        for c in classes
        for i in range(n)
    }


def test_split_in_folders(tmp_path):
    train = fill(tmp_path / "train")
    test = fill(tmp_path / "test", n=2)
    fill(tmp_path / "val", n=1)
    (tmp_path / "extra").mkdir()
    dataset = load_folder(tmp_path)
    assert dataset.name == f"folder:{tmp_path}"
    assert dataset.classes == ("a", "b")
    assert dataset.train.labels.tolist() == [0] * 5 + [1] * 5
    np.testing.assert_array_equal(dataset.train.images, [train[k] for k in sorted(train)])
    np.testing.assert_array_equal(dataset.test.images, [test[k] for k in sorted(test)])


def test_val_is_the_test_where_there_is_no_other(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "val", n=1)
    assert len(load_folder(tmp_path).test) == 2
    assert len(load_folder(tmp_path).train) == 10


@pytest.mark.parametrize("inside", ["", "train"])
def test_a_fifth_is_held_out(tmp_path, inside):
    pictures = fill(tmp_path / inside, n=10)
    dataset = load_folder(tmp_path)
    assert dataset.train.labels.tolist() == [0] * 8 + [1] * 8
    assert dataset.test.labels.tolist() == [0] * 2 + [1] * 2
    every = np.concatenate([dataset.train.images, dataset.test.images])
    assert {x.tobytes() for x in every} == {x.tobytes() for x in pictures.values()}
    np.testing.assert_array_equal(dataset.test.images, load_folder(tmp_path).test.images)


def test_classes_called_train_and_test(tmp_path):
    fill(tmp_path, classes=("train", "test", "car"))
    assert load_folder(tmp_path).classes == ("car", "test", "train")


def test_size_is_that_of_the_first_image_or_the_one_asked_for(tmp_path):
    first = picture(tmp_path / "train" / "a" / "1.png", size=(6, 5))
    second = picture(tmp_path / "train" / "a" / "2.png", size=(9, 9), seed=1)
    picture(tmp_path / "test" / "a" / "1.png", size=(3, 12), seed=2)
    train = load_folder(tmp_path).train.images
    np.testing.assert_array_equal(train, [first, resize(second[None], (6, 5))[0]])
    dataset = load_folder(tmp_path, (4, 7))
    assert dataset.train.images.shape == (2, 4, 7, 3)
    assert dataset.test.images.shape == (1, 4, 7, 3)


def test_gray_only_where_all_are_gray(tmp_path):
    gray = fill(tmp_path / "train", channels=1)
    fill(tmp_path / "test", channels=1, n=1)
    train = load_folder(tmp_path).train.images
    np.testing.assert_array_equal(train, [gray[k] for k in sorted(gray)])
    picture(tmp_path / "test" / "b" / "9.png")
    train = load_folder(tmp_path).train.images
    np.testing.assert_array_equal(train, [to_channels(gray[k], 3) for k in sorted(gray)])


def test_hidden_files_are_passed_over(tmp_path):
    fill(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / ".DS_Store").write_text("not a picture")
    (tmp_path / "README.txt").write_text("beside the classes")
    assert load_folder(tmp_path).classes == ("a", "b")
    assert len(load_folder(tmp_path).train) == 8


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder: there is no directory .*absent"):
        load_folder(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"folder: .+ holds no classes"):
        load_folder(tmp_path)
    picture(tmp_path / "a" / "0.png")
    with pytest.raises(ValueError, match=r"folder: .+ holds 1 images, too few to hold out a test"):
        load_folder(tmp_path)
    fill(tmp_path)
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match=r"folder: the class .+c is empty"):
        load_folder(tmp_path)
    (tmp_path / "c" / ".hidden").touch()
    with pytest.raises(ValueError, match=r"folder: the class .+c is empty"):
        load_folder(tmp_path)
    (tmp_path / "c" / "d").mkdir()
    with pytest.raises(ValueError, match=r"folder: .+c\Wd should be an image, and is no file"):
        load_folder(tmp_path)


def test_damaged_pictures_are_named(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", n=1)
    path = tmp_path / "train" / "b" / "3.png"
    whole = path.read_bytes()
    for content, match in (
        (b"", r"3\.png is empty"),
        (b"text", r"3\.png is no image"),
        (whole[:70], r"3\.png cannot be decoded"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"read_image: .+b\W{match}"):
            load_folder(tmp_path)


def test_an_unknown_class_in_the_test(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", classes=("a", "zebra"))
    with pytest.raises(ValueError, match=r"folder: .+zebra is a class that the training images"):
        load_folder(tmp_path)


@pytest.mark.parametrize("parts", [("",), ("train",), ("train", "val")])
@pytest.mark.parametrize("size", [None, (4, 7)])
def test_streamed_it_is_the_same_set(tmp_path, parts, size):
    for part in parts:
        fill(tmp_path / part, n=10)
    memory, streamed = (load_folder(tmp_path, size, stream=s) for s in (False, True))
    for part in ("train", "test"):
        expected, images = getattr(memory, part), getattr(streamed, part).images
        assert isinstance(images, Pictures)
        assert images.shape == expected.images.shape
        np.testing.assert_array_equal(images[:], expected.images)
        np.testing.assert_array_equal(getattr(streamed, part).labels, expected.labels)
    for name in ("name", "classes", "mean", "std"):
        assert getattr(streamed, name) == getattr(memory, name)


def test_streamed_few_files_are_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxcnn.data.folders.OPENED", 3)
    monkeypatch.setattr("jaxcnn.data.datasets.LOOKED_AT", 2)
    fill(tmp_path / "train", classes=["a"], n=9, channels=1)
    fill(tmp_path / "val", classes=["a"], n=2, channels=1)
    closed = [f"train/a/{i}.png" for i in (1, 2, 3, 4, 6, 7)] + ["val/a/0.png"]
    for name in closed:  # all but every fifth and the last one in training
        (tmp_path / name).write_bytes(b"never read")
    dataset = load_folder(tmp_path, stream=True)
    assert dataset.train.images.shape == (9, 6, 5, 1)
    assert (dataset.mean, dataset.std) == statistics(dataset.train.images[[0, 8]])
    picture(tmp_path / "train" / "a" / "5.png")
    assert load_folder(tmp_path, stream=True).train.images.channels == 3


def test_corrupt_pictures_can_be_left_out(tmp_path):
    pictures = fill(tmp_path / "train")
    fill(tmp_path / "test", n=2)
    first, later = tmp_path / "train" / "a" / "0.png", tmp_path / "train" / "b" / "3.png"
    first.write_bytes(b"no image")
    later.write_bytes(later.read_bytes()[:90])
    whole = [k for k in sorted(pictures) if k not in ("a/0.png", "b/3.png")]
    with pytest.warns(UserWarning, match="It is left out") as told:
        dataset = load_folder(tmp_path, skip_corrupt=True)
    assert [re.search(r": (.+\.png) ", str(w.message))[1] for w in told] == [str(first), str(later)]
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(dataset.train.images, [pictures[k] for k in whole])
    with pytest.warns(UserWarning, match="It is left out") as told:
        streamed = load_folder(tmp_path, stream=True, skip_corrupt=True)
    assert len(told) == 2
    assert not streamed.train.images[0].any()  # and no further warning
    assert len(streamed.train) == 10
    assert (streamed.mean, streamed.std) == (dataset.mean, dataset.std)


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_but_corrupt_pictures(tmp_path, stream):
    for i in range(3):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{i}.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"folder: none of the 3 files in .+ is an image"):
        load_folder(tmp_path, stream=stream, skip_corrupt=True)
    with pytest.raises(ValueError, match=r"read_image: .+0\.png is no image"):
        load_folder(tmp_path, stream=stream)
