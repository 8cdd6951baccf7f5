import gzip
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jaxcnn.data.downloads import REMOTES, Remote, download
from jaxcnn.data.idx import MNIST_FILES, unzipped
from jaxcnn.data.locations import FORMS


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """Serves the directory tmp_path/server; yields it and its address."""
    root = tmp_path / "server"
    root.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield root, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


def official(monkeypatch, root, address):
    """The table of addresses, with what lies on the server as the truth."""
    files = [f"{file}.gz" for file in MNIST_FILES]
    hashes = [hashlib.sha256(unzipped(root / file)).hexdigest() for file in files]
    remotes = [Remote(address + f, h, idx=True) for f, h in zip(files, hashes, strict=True)]
    monkeypatch.setitem(REMOTES, "mnist", tuple(remotes))


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_download(tmp_path, monkeypatch, server, write_mnist, capsys):
    root, address = server
    write_mnist(root, end=".gz")
    official(monkeypatch, root, address)
    target = tmp_path / "new" / "mnist"
    download("mnist", target)
    assert names(target) == names(root)
    for path in root.iterdir():
        assert (target / path.name).read_bytes() == path.read_bytes()
    err = capsys.readouterr().err
    assert f"jaxcnn: downloading {address}train-images-idx3-ubyte.gz to {target}" in err


def test_the_hash_is_of_the_unzipped_bytes(tmp_path, monkeypatch, server, write_mnist):
    root, address = server
    write_mnist(root, end=".gz")
    official(monkeypatch, root, address)
    restamped = root / f"{MNIST_FILES[0]}.gz"
    before = restamped.read_bytes()
    restamped.write_bytes(gzip.compress(unzipped(restamped), compresslevel=1, mtime=12345))
    assert restamped.read_bytes() != before
    download("mnist", tmp_path / "mnist")
    assert (tmp_path / "mnist" / restamped.name).read_bytes() == restamped.read_bytes()


def test_only_what_is_missing_is_downloaded(tmp_path, monkeypatch, server, write_mnist, capsys):
    root, address = server
    write_mnist(root, end=".gz")
    official(monkeypatch, root, address)
    download("mnist", tmp_path / "mnist")
    (tmp_path / "mnist" / f"{MNIST_FILES[1]}.gz").unlink()
    capsys.readouterr()
    download("mnist", tmp_path / "mnist")
    assert capsys.readouterr().err.count("downloading") == 1


def test_a_wrong_hash_is_removed(tmp_path, monkeypatch, server, write_mnist):
    root, address = server
    write_mnist(root, end=".gz")
    official(monkeypatch, root, address)
    changed = root / f"{MNIST_FILES[1]}.gz"
    content = unzipped(changed)
    wrong = content[:-1] + bytes([content[-1] ^ 1])
    changed.write_bytes(gzip.compress(wrong))
    match = (
        rf"download: {address}{changed.name} is not what it should be and was removed: "
        rf"SHA-256 {hashlib.sha256(wrong).hexdigest()}, "
        rf"expected {hashlib.sha256(content).hexdigest()}"
    )
    with pytest.raises(ValueError, match=match):
        download("mnist", tmp_path / "mnist")
    assert names(tmp_path / "mnist") == [f"{MNIST_FILES[0]}.gz"]
    changed.write_bytes(gzip.compress(content)[:-10])
    with pytest.raises(ValueError, match="was removed: SHA-256 of a damaged gzip file"):
        download("mnist", tmp_path / "mnist")
    assert names(tmp_path / "mnist") == [f"{MNIST_FILES[0]}.gz"]


def test_archives_are_hashed_as_they_are(tmp_path, monkeypatch, server):
    root, address = server
    (root / "some.tar.gz").write_bytes(b"bytes")
    right = Remote(f"{address}some.tar.gz", hashlib.sha256(b"bytes").hexdigest())
    monkeypatch.setitem(REMOTES, "cifar10", (right,))
    download("cifar10", tmp_path / "cifar10")
    assert (tmp_path / "cifar10" / "some.tar.gz").read_bytes() == b"bytes"
    monkeypatch.setitem(REMOTES, "cifar10", (Remote(right.url, "0" * 64),))
    with pytest.raises(ValueError, match=f"SHA-256 {right.sha256}, expected 0000"):
        download("cifar10", tmp_path / "other")
    assert names(tmp_path / "other") == []


def test_no_such_file_there(tmp_path, monkeypatch, server, write_mnist):
    root, address = server
    write_mnist(root, end=".gz")
    official(monkeypatch, root, address)
    (root / f"{MNIST_FILES[0]}.gz").unlink()
    with pytest.raises(OSError, match="404"):
        download("mnist", tmp_path / "mnist")
    assert names(tmp_path / "mnist") == []


def test_no_server(tmp_path, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as gone:
        address = f"http://127.0.0.1:{gone.server_port}/some.tar.gz"
    monkeypatch.setitem(REMOTES, "cifar10", (Remote(address, "0" * 64),))
    with pytest.raises(OSError, match="refused"):
        download("cifar10", tmp_path / "cifar10")
    assert names(tmp_path / "cifar10") == []


def test_the_table_of_addresses():
    assert set(REMOTES) == set(FORMS)
    for name, remotes in REMOTES.items():
        if "mnist" in name:
            assert [r.file for r in remotes] == [f"{file}.gz" for file in MNIST_FILES]
        else:
            assert [r.file for r in remotes] == [FORMS[name][0].archive]
        for remote in remotes:
            assert len(bytes.fromhex(remote.sha256)) == 32
