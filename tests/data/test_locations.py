import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from jaxcnn.data.downloads import REMOTES
from jaxcnn.data.idx import MNIST_FILES, unzipped
from jaxcnn.data.locations import FORMS, SYSTEM, directories, find, member, not_found


def empty_files(directory, files):
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        (directory / file).touch()
    return directory


def test_the_order(nowhere, monkeypatch, write_mnist):
    """Each place that is added comes before those that were there."""
    monkeypatch.setenv("JAXCNN_DATA", str(nowhere / "env"))
    explicit = nowhere / "explicit"
    explicit.mkdir()
    assert find("mnist", explicit).place is None
    for directory in ("system", "cache/jaxcnn", "env", "explicit"):
        for place in (nowhere / directory, nowhere / directory / "mnist"):
            write_mnist(place)
            assert find("mnist", explicit).place.path == place
            assert find("mnist", str(explicit)).place.path == place
    assert find("mnist").place.path == nowhere / "env" / "mnist"


def test_directories(monkeypatch):
    monkeypatch.setenv("JAXCNN_DATA", "~/data")
    assert directories("there")[:2] == [Path("there"), Path("~/data").expanduser()]
    assert directories()[-1] == SYSTEM == Path("/usr/share/datasets")
    monkeypatch.setenv("JAXCNN_DATA", "")
    assert len(directories()) == 2
    assert directories()[0].parts[-1] == "jaxcnn"


@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_plain_or_gzipped(nowhere, write_mnist, end):
    place = find("mnist", write_mnist(nowhere / "here", end=end)).place
    assert [member(place, f).name for f in MNIST_FILES] == [f + end for f in MNIST_FILES]


def test_as_torchvision_lays_them(nowhere, write_mnist):
    write_mnist(nowhere / "here" / "FashionMNIST" / "raw")
    place = find("fashion-mnist", nowhere / "here").place
    assert place.path == nowhere / "here" / "FashionMNIST" / "raw"


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_in_each_shape(nowhere, name):
    """The binary version comes before the pickles; a directory before its archive."""
    here = nowhere / "here"
    for form in reversed(FORMS[name]):
        empty_files(here, [form.archive])
        assert find(name, here).place.path == here / form.archive
        assert find(name, here / form.archive).place.form is form
        empty_files(here / form.folder, form.files)
        assert find(name, here).place.path == here / form.folder
        empty_files(here, form.files)
        assert find(name, here).place.path == here


def test_an_incomplete_path_is_an_error(nowhere, write_mnist):
    write_mnist(nowhere / "system")
    here = write_mnist(nowhere / "here")
    (here / MNIST_FILES[3]).unlink()
    with pytest.raises(FileNotFoundError, match=r"mnist cannot be read from .+here: lacks t10k"):
        find("mnist", here)
    (here / MNIST_FILES[3]).mkdir()  # a directory of that name is not the file
    with pytest.raises(FileNotFoundError, match=r".+here: lacks t10k-labels-idx1-ubyte"):
        find("mnist", here)


def test_incomplete_elsewhere_is_passed_over(nowhere, monkeypatch, write_mnist):
    write_mnist(nowhere / "system")
    (write_mnist(nowhere / "env") / MNIST_FILES[0]).unlink()
    monkeypatch.setenv("JAXCNN_DATA", str(nowhere / "env"))
    search = find("mnist")
    assert search.place.path == nowhere / "system"
    assert f"{nowhere / 'env'}: lacks train-images-idx3-ubyte" in search.notes


def test_an_incomplete_folder_beside_a_whole_archive(nowhere):
    form = FORMS["cifar10"][0]
    here = empty_files(nowhere / "here", [form.archive])
    empty_files(here / form.folder, form.files[:3])
    assert find("cifar10", here).place.path == here / form.archive


def test_paths_that_are_wrong(nowhere):
    with pytest.raises(FileNotFoundError, match=r"load: there is no .+absent to find mnist in"):
        find("mnist", nowhere / "absent")
    (nowhere / "file.zip").touch()
    with pytest.raises(FileNotFoundError, match=r"file\.zip: it is a file, and none of the arch"):
        find("cifar10", nowhere / "file.zip")


def test_mnist_is_not_taken_for_fashion_mnist(nowhere, monkeypatch, write_mnist):
    """Their files have the same names; the known hash of the test labels tells them apart."""

    here = write_mnist(nowhere / "here", end=".gz")
    labels = unzipped(here / f"{MNIST_FILES[3]}.gz")
    known = replace(REMOTES["mnist"][3], sha256=hashlib.sha256(labels).hexdigest())
    monkeypatch.setitem(REMOTES, "mnist", (*REMOTES["mnist"][:3], known))
    assert find("mnist", here).place.path == here
    with pytest.raises(FileNotFoundError, match=r".+here: these are the files of mnist"):
        find("fashion-mnist", here)
    monkeypatch.setenv("JAXCNN_DATA", str(here))
    search = find("fashion-mnist")
    assert search.place is None
    assert f"{here}: these are the files of mnist" in search.notes


def test_damaged_labels_are_left_to_the_reader(nowhere, write_mnist):
    here = write_mnist(nowhere / "here", end=".gz")
    path = here / f"{MNIST_FILES[3]}.gz"
    path.write_bytes(path.read_bytes()[:15])
    assert find("mnist", here).place.path == here


def test_not_found_says_everything(nowhere, monkeypatch):
    monkeypatch.setenv("JAXCNN_DATA", str(nowhere / "env"))
    (nowhere / "env").mkdir()
    message = str(not_found("fashion-mnist", find("fashion-mnist"), "there is no network"))
    cache = nowhere / "cache" / "jaxcnn"
    for line in (
        "load: fashion-mnist was not found, and there is no network.",
        f"  {', '.join(MNIST_FILES)} (also in FashionMNIST/raw/)",
        f"  {nowhere / 'env' / 'fashion-mnist'}: no such directory",
        f"  {nowhere / 'env'}: none of the files",
        f"  {cache / 'fashion-mnist'}: no such directory",
        f"  {nowhere / 'system'}: no such directory",
        f"  mkdir -p {cache / 'fashion-mnist'}",
        f"  curl -fL -o {cache / 'fashion-mnist' / 'train-images-idx3-ubyte.gz'} "
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
        "  apt install dataset-fashion-mnist   (Debian)",
    ):
        assert line in message.splitlines(), line
    message = str(not_found("cifar10", find("cifar10"), "x"))
    assert "data_batch_1.bin, " in message
    assert "(also in cifar-10-batches-bin/ or cifar-10-binary.tar.gz)" in message
    assert "(also in cifar-10-batches-py/ or cifar-10-python.tar.gz)" in message
    assert "apt install" not in message
