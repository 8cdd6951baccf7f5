import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import jaxcnn.data as data
from jaxcnn.data.datasets import statistics
from jaxcnn.data.downloads import REMOTES
from jaxcnn.data.idx import MNIST_FILES


@pytest.fixture
def offline(nowhere, monkeypatch):
    """No server answers at any of the addresses."""
    for name, remotes in REMOTES.items():
        unreachable = [replace(r, url=f"http://127.0.0.1:9/{r.file}") for r in remotes]
        monkeypatch.setitem(REMOTES, name, tuple(unreachable))
    return nowhere


def test_names_and_embedded_sources():
    assert data.names() == (
        *("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "folder:PATH", "synthetic"),
    )
    for name in ("digits", "synthetic"):
        assert data.load(name).name == name


def test_load_from_a_path_or_the_environment(offline, monkeypatch, write_mnist):
    write_mnist(offline / "data" / "mnist", end=".gz")
    dataset = data.load("mnist", path=offline / "data")
    assert (dataset.name, len(dataset.train), len(dataset.test)) == ("mnist", 20, 10)
    monkeypatch.setenv("JAXCNN_DATA", str(offline / "data"))
    again = data.load("mnist", download=False)
    np.testing.assert_array_equal(again.train.images, dataset.train.images)
    assert (again.mean, again.std) == (dataset.mean, dataset.std)


def test_load_from_a_folder(offline):
    for label in ("x", "y"):
        for i in range(5):
            path = offline / "pictures" / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 50 * i).save(path)
    for dataset in (
        data.load(f"folder:{offline / 'pictures'}"),
        data.load("folder", path=offline / "pictures"),
    ):
        assert dataset.classes == ("x", "y")
        assert (dataset.train.images.shape, len(dataset.test)) == ((8, 4, 4, 1), 2)
    dataset = data.load(f"folder:{offline / 'pictures'}", size=(7, 9))
    assert dataset.train.images.shape == (8, 7, 9, 1)


def test_load_resized():
    small, large = data.load("digits"), data.load("digits", size=(28, 20))
    np.testing.assert_array_equal(large.test.images, data.resize(small.test.images, (28, 20)))
    assert (large.mean, large.std) == statistics(large.train.images)
    np.testing.assert_array_equal(large.train.labels, small.train.labels)


def test_without_a_network(offline):
    for name, file in (("mnist", MNIST_FILES[0] + ".gz"), ("cifar10", "cifar-10-binary.tar.gz")):
        with pytest.raises(FileNotFoundError) as caught:
            data.load(name)
        message = str(caught.value)
        assert f"load: {name} was not found, and the download failed: " in message
        target = offline / "cache" / "jaxcnn" / name
        assert f"  {target}: no such directory" in message.splitlines()
        assert f"  curl -fL -o {target / file} http://127.0.0.1:9/{file}" in message.splitlines()
        with pytest.raises(FileNotFoundError, match="not found, and downloading was not asked for"):
            data.load(name, download=False)


def test_download_then_load(nowhere, monkeypatch, write_mnist):
    """What a download brings is found where it was put, then and the next time."""
    calls = []

    def fetch(name, directory):
        calls.append(name)
        write_mnist(directory, end=".gz")

    monkeypatch.setattr("jaxcnn.data.sources.fetch", fetch)
    assert len(data.load("fashion-mnist").train) == 20
    assert len(data.load("fashion-mnist").train) == 20
    assert calls == ["fashion-mnist"]
    assert data.found()["fashion-mnist"] == str(nowhere / "cache" / "jaxcnn" / "fashion-mnist")


def test_a_cache_that_cannot_be_made(offline):
    (offline / "cache").write_text("a file where the directory should be")
    with pytest.raises(FileNotFoundError, match=r"mnist was not found, and the download failed: "):
        data.load("mnist")


def test_found(offline, monkeypatch, write_mnist):
    table = {"digits": "scikit-learn", "synthetic": "generated"}
    nothing = dict.fromkeys(("mnist", "fashion-mnist", "cifar10", "cifar100"))
    assert data.found() == {**table, **nothing}
    write_mnist(offline / "data" / "mnist")
    monkeypatch.setenv("JAXCNN_DATA", str(offline / "data"))
    assert data.found() == {**table, **nothing, "mnist": str(offline / "data" / "mnist")}


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("digit", "digits"),
        ("MNIST", "mnist"),
        ("fashion_mnist", "fashion-mnist"),
        ("FashionMNIST", "fashion-mnist"),
        ("cifar-10", "cifar10"),
        ("cifar1000", "cifar100"),
        ("sinthetic", "synthetic"),
    ],
)
def test_a_typo_gets_a_suggestion(typo, meant):
    match = f"load: no source is called '{typo}'. Did you mean '{meant}"
    with pytest.raises(ValueError, match=match):
        data.load(typo)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"no source is called 'xyzzy'. There are digits, mnist, "):
        data.load("xyzzy")
    for arguments in ({"name": "folder"}, {"name": "folder:"}, {"name": "folder:a", "path": "b"}):
        with pytest.raises(ValueError, match="load: write folder:PATH, the path once, got 'folder"):
            data.load(**arguments)
    with pytest.raises(ValueError, match="load: digits needs no files, got path="):
        data.load("digits", path=tmp_path)
    for name in ("digits", "mnist"):
        with pytest.raises(ValueError, match=f"load: stream is for folder:PATH, got '{name}'"):
            data.load(name, stream=True)
        with pytest.raises(ValueError, match=f"skip_corrupt is for folder:PATH, got '{name}'"):
            data.load(name, skip_corrupt=True)


def test_importing_is_cheap():
    code = (
        "import jaxcnn.data, sys;"
        "print({'sklearn', 'PIL', 'pooch', 'requests', 'grain'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_whole_set(name):
    """Needs the set on this machine, or a network."""
    try:
        dataset = data.load(name)
    except FileNotFoundError as error:
        if "the download failed" not in str(error):
            raise
        pytest.skip(str(error))
    assert dataset.train.images.shape == (60000, 28, 28, 1)
    assert dataset.test.images.shape == (10000, 28, 28, 1)
    assert np.bincount(dataset.test.labels).min() >= 892
    published = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}
    assert tuple(round(v, 4) for v in dataset.mean + dataset.std) == published[name]
