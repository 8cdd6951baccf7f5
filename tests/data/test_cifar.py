import io
import pickle
import tarfile

import numpy as np
import pytest

from jaxcnn.data.cifar import CIFAR10_NAMES, CIFAR100_NAMES, read_cifar
from jaxcnn.data.locations import FORMS, Place

CLASSES = {"cifar10": 10, "cifar100": 100}


def parts(name):
    """Images and labels of each file, a few of them; the same for both versions."""
    rng = np.random.default_rng(0)
    files = 6 if name == "cifar10" else 2
    for i in range(files):
        n = 20 if i < files - 1 else 12
        images = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
        yield images, rng.integers(0, CLASSES[name], n)


def planes(images):
    """Red, green, blue, each row by row, as CIFAR's files have them."""
    return np.stack([np.concatenate([x[..., c].ravel() for c in range(3)]) for x in images])


def binary(name, images, labels):
    coarse = [labels[:, None] // 5] if name == "cifar100" else []
    return np.hstack([*coarse, labels[:, None], planes(images)]).astype(np.uint8).tobytes()


def python(name, images, labels):
    key = b"fine_labels" if name == "cifar100" else b"labels"
    entries = {b"data": planes(images), key: labels.tolist(), b"batch_label": b"batch 1 of 5"}
    if name == "cifar100":
        entries[b"coarse_labels"] = (labels // 5).tolist()
    return pickle.dumps(entries, 2)


def contents(name, version):
    form = FORMS[name][version]
    encode = (binary, python)[version]
    return form, {f: encode(name, *p) for f, p in zip(form.files, parts(name), strict=True)}


def as_directory(path, form, files):
    path.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (path / file).write_bytes(content)
    return Place(form, path)


def as_archive(path, form, files):
    path.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path / form.archive, "w:gz") as archive:
        for file, content in {"readme.html": b"hello", **files}.items():
            entry = tarfile.TarInfo(f"{form.folder}/{file}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return Place(form, path / form.archive)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("version", [0, 1], ids=["binary", "python"])
@pytest.mark.parametrize("lay", [as_directory, as_archive])
def test_read_cifar(tmp_path, name, version, lay):
    dataset = read_cifar(name, lay(tmp_path, *contents(name, version)))
    *train, (test_images, test_labels) = parts(name)
    np.testing.assert_array_equal(dataset.train.images, np.concatenate([x for x, _ in train]))
    np.testing.assert_array_equal(dataset.train.labels, np.concatenate([y for _, y in train]))
    np.testing.assert_array_equal(dataset.test.images, test_images)
    np.testing.assert_array_equal(dataset.test.labels, test_labels)
    assert (dataset.name, len(dataset.classes)) == (name, CLASSES[name])


def test_known_class_names():
    ten, hundred = CIFAR10_NAMES.split(), CIFAR100_NAMES.split()
    assert (len(ten), ten[0], ten[3], ten[9]) == (10, "airplane", "cat", "truck")
    assert (len(hundred), hundred[0], hundred[49], hundred[99]) == (
        100,
        "apple",
        "mountain",
        "worm",
    )
    assert hundred == sorted(hundred)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("lay", [as_directory, as_archive])
def test_class_names_from_the_sets_own_file(tmp_path, name, lay):
    own = [f"class_{i}" for i in range(CLASSES[name])]
    text = "\n".join(own).encode() + b"\n\n"
    key = b"label_names" if name == "cifar10" else b"fine_label_names"
    pickled = pickle.dumps({key: [n.encode() for n in own]}, 2)
    files = {"cifar10": ("batches.meta.txt", "batches.meta")}.get(
        name, ("fine_label_names.txt", "meta")
    )
    for version, content in enumerate((text, pickled)):
        form, data = contents(name, version)
        place = lay(tmp_path / str(version), form, {**data, files[version]: content})
        assert read_cifar(name, place).classes == tuple(own)
        place = lay(tmp_path / str(version), form, {**data, files[version]: content[:20]})
        with pytest.raises(ValueError, match=rf"{files[version]}.* (should name \d+ classes|is )"):
            read_cifar(name, place)


def refused(tmp_path, name, version, changes, match):
    form, files = contents(name, version)
    for i, lay in enumerate((as_directory, as_archive)):
        place = lay(tmp_path / f"{version}{i}", form, {**files, **changes})
        with pytest.raises(ValueError, match=match):
            read_cifar(name, place)


def test_binary_errors(tmp_path):
    files = contents("cifar10", 0)[1]
    whole = files["data_batch_3.bin"]
    mislabelled = bytearray(whole)
    mislabelled[2 * 3073] = 10

    def check(content, match):
        changes = {"data_batch_3.bin": bytes(content)}
        refused(tmp_path, "cifar10", 0, changes, rf"read_cifar: .*data_batch_3\.bin {match}")

    check(b"", "is empty")
    check(whole[:-1], r"is truncated: 61459 bytes are no multiple of a record's 3073")
    check(mislabelled, r"is mislabelled: labels must lie in 0..9, label 2 is 10")
    check(whole[: 19 * 3073], r"19, data_batch_4\.bin 20")
    whole = bytearray(contents("cifar100", 0)[1]["test.bin"])
    whole[1] = 100
    changes = {"test.bin": bytes(whole)}
    refused(tmp_path, "cifar100", 0, changes, r"test\.bin is mislabelled: .* 0..99, label 0 is 100")


def test_python_errors(tmp_path):
    images, labels = next(parts("cifar10"))
    data = planes(images)

    def check(entries, match):
        content = entries if isinstance(entries, bytes) else pickle.dumps(entries, 2)
        refused(tmp_path, "cifar10", 1, {"data_batch_2": content}, rf"data_batch_2:? {match}")

    check(b"", "is empty")
    check({b"data": data[:0], b"labels": []}, "is empty")
    check(python("cifar10", images, labels)[:5000], "is (truncated|refused)")
    check({b"data": data}, r"needs data and labels, it has \['data'\]")
    check({b"data": data[:, 1:], b"labels": []}, r"data must be bytes of shape \(n, 3072\)")
    check({b"data": data / 255, b"labels": []}, "data must be bytes")
    check({b"data": 3, b"labels": []}, "data must be bytes")
    check(
        {b"data": data, b"labels": labels.tolist()[1:]}, "is mislabelled: 20 images and 19 labels"
    )
    check({b"data": data, b"labels": ["a"] * 20}, "is mislabelled: 20 images and 20 labels of type")
    check({b"data": data, b"labels": [-1] * 20}, "is mislabelled: .* label 0 is -1")
    check({b"data": data[:3], b"labels": [1, 2, 3]}, r"3, data_batch_3 20")


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_hostile_file_runs_nothing(tmp_path):
    witness = tmp_path / "witness"
    for content in ({b"data": Hostile(witness)}, Hostile(witness)):
        changes = {"test_batch": pickle.dumps(content, 2)}
        refused(tmp_path, "cifar10", 1, changes, r"test_batch is refused: it asks for \w+\.open")
        changes = {"batches.meta": pickle.dumps(content, 2)}
        refused(tmp_path / "meta", "cifar10", 1, changes, r"batches\.meta is refused")
    assert not witness.exists()


def test_archive_errors(tmp_path):
    form, files = contents("cifar100", 0)
    place = as_archive(tmp_path, form, {"train.bin": files["train.bin"]})
    with pytest.raises(ValueError, match=r"cifar-100-binary\.tar\.gz lacks test\.bin"):
        read_cifar("cifar100", place)
    whole = place.path.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2], whole[:-9]):
        place.path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cifar-100-binary\.tar\.gz (is no tar|lacks)"):
            read_cifar("cifar100", place)


def test_archives_are_not_unpacked(tmp_path):
    """A name that climbs out of the archive, and a link, do nothing."""
    form, files = contents("cifar100", 0)
    place = as_archive(tmp_path / "a", form, files)
    with tarfile.open(place.path, "w:gz") as archive:
        for file, content in files.items():
            entry = tarfile.TarInfo(f"../../{file}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("x/fine_label_names.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    dataset = read_cifar("cifar100", place)
    assert len(dataset.train) == 20
    assert dataset.classes[0] == "apple"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["cifar-100-binary.tar.gz"]
