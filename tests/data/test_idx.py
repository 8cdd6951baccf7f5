import gzip

import numpy as np
import pytest

from jaxcnn.data.idx import FASHION_CLASSES, MNIST_FILES, read_idx, read_mnist


def numbers(*shape):
    return np.random.default_rng(0).integers(0, 10, shape, np.uint8)


@pytest.mark.parametrize("name", ["x-idx3-ubyte", "x-idx3-ubyte.gz"])
def test_read_idx(tmp_path, write_idx, name):
    for array in (numbers(3, 4, 5), numbers(6), numbers(2, 3).astype(np.int16) - 300):
        read = read_idx(write_idx(tmp_path / name, array))
        np.testing.assert_array_equal(read, array)
        assert read.dtype.itemsize == array.dtype.itemsize
    np.testing.assert_array_equal(
        read_idx(write_idx(tmp_path / name, np.array([1.5, -2.0], np.float32))), [1.5, -2.0]
    )


def test_read_idx_by_hand(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(b"\x00\x00\x08\x01" + b"\x00\x00\x00\x02" + b"\x07\x09")
    assert read_idx(path).tolist() == [7, 9]
    path.write_bytes(gzip.compress(path.read_bytes()))  # gzipped, though its name does not say so
    assert read_idx(path).tolist() == [7, 9]


def test_read_idx_errors(tmp_path, write_idx):
    with pytest.raises(FileNotFoundError, match=r"read_idx: there is no file .*absent"):
        read_idx(tmp_path / "absent")
    path = write_idx(tmp_path / "images.idx", numbers(3, 4, 5))
    whole = path.read_bytes()

    def refused(content, match):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"read_idx: .*images\.idx {match}"):
            read_idx(path)

    refused(b"", "is empty")
    refused(gzip.compress(b""), "is empty")
    refused(whole[:3], "is no IDX file, its magic number is 0x000008 ")
    refused(b"PK" + whole[2:], "is no IDX file, its magic number is 0x504b0803")
    refused(whole[:2] + b"\x07" + whole[3:], "is no IDX file")
    refused(whole[:3] + b"\x00" + whole[4:], "is no IDX file")
    refused(whole[:12], "is truncated in its header")
    refused(whole[:-1], r"is truncated: its header promises 60 bytes, \(3, 4, 5\), and it holds 59")
    refused(whole + b"\x00", "goes on too long: its header promises 60 .* holds 61")
    huge = whole[:4] + b"\xff" * 12 + whole[16:]
    refused(huge, "is truncated: its header promises 79228162458924105385300197375 bytes")
    zipped = gzip.compress(whole)
    refused(zipped[:-9], "is truncated: its gzip stream breaks off")
    refused(zipped[:12] + b"\xff\xff\xff" + zipped[15:], "is corrupt gzip")
    refused(zipped[:-8] + b"\x00" * 8, "is corrupt gzip: CRC")


def paths(directory):
    return [directory / file for file in MNIST_FILES]


def test_read_mnist(tmp_path, write_mnist):
    files = paths(write_mnist(tmp_path))
    dataset = read_mnist("mnist", files)
    assert dataset.train.images.shape == (20, 4, 4, 1)
    assert dataset.test.labels.tolist() == list(range(10))
    np.testing.assert_array_equal(dataset.train.images[..., 0], read_idx(files[0]))
    assert dataset.classes == tuple("0123456789")
    assert read_mnist("fashion-mnist", files).classes == FASHION_CLASSES
    assert len(set(FASHION_CLASSES)) == 10


def test_read_mnist_errors(tmp_path, write_mnist, write_idx):
    files = paths(write_mnist(tmp_path))

    def refused(file, array, match):
        whole = file.read_bytes()
        write_idx(file, array)
        with pytest.raises(ValueError, match=match):
            read_mnist("mnist", files)
        file.write_bytes(whole)

    mislabelled = np.arange(20, dtype=np.uint8) % 10
    mislabelled[3] = 10
    refused(files[1], mislabelled, r"train-labels.* is mislabelled: .* 0..9, label 3 is 10")
    refused(files[1], numbers(19), r"train-images.* holds 20 images, .*train-labels.* 19 labels")
    refused(files[3], numbers(3, 4, 4), r"t10k-labels\S* should hold labels, .* uint8 \(3, 4, 4\)")
    refused(files[2], numbers(10), r"t10k-images\S* should hold images, .* uint8 \(10,\)")
    refused(files[0], numbers(20, 4, 4).astype(np.int16), r"should hold images, .* int16")
    refused(files[0], numbers(0, 4, 4), r"train-images\S* holds no images, .*\(0, 4, 4\)")
    refused(files[3], numbers(0), r"t10k-labels\S* holds no labels")
    refused(files[2], numbers(10, 5, 5), "mnist: train and test images need one size")
    assert len(read_mnist("mnist", files).train) == 20
