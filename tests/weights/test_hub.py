import hashlib
import shutil
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from jaxcnn.weights import load
from jaxcnn.weights.hub import fetch

FILE = Path(__file__).parent.parent / "golden" / "torch_files" / "types_zip.pth"
SHA256 = hashlib.sha256(FILE.read_bytes()).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = f"hub:owner/some-net.v1@{COMMIT}:weights/net.pth#{SHA256}"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the hub was asked for; it answers every time with the same file."""
    asked = []

    def download(name, file, *, revision):
        asked.append((name, file, revision))
        return shutil.copy(FILE, tmp_path / "net.pth")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_a_source_of_the_hub(asked):
    assert fetch(SOURCE).read_bytes() == FILE.read_bytes()
    assert asked == [("owner/some-net.v1", "weights/net.pth", COMMIT)]


def test_parts_that_are_missing(asked):
    for source in (
        "hub:",
        "hub:owner/net",
        f"hub:owner/net:net.pth#{SHA256}",
        f"hub:owner/net@main:net.pth#{SHA256}",
        f"hub:owner/net@{COMMIT[:7]}:net.pth#{SHA256}",
        f"hub:owner/net@{COMMIT.upper()}:net.pth#{SHA256}",
        f"hub:net@{COMMIT}:net.pth#{SHA256}",
        f"hub:owner/net@{COMMIT}#{SHA256}",
        f"hub:owner/net@{COMMIT}:#{SHA256}",
        f"hub:owner/net@{COMMIT}:net.pth",
        f"hub:owner/net@{COMMIT}:net.pth#",
        f"hub:owner/net@{COMMIT}:net.pth#{SHA256[:-1]}",
        f"{SOURCE}\n",
    ):
        with pytest.raises(ValueError, match="fetch: a source of the hub is hub:OWNER/NAME"):
            fetch(source)
        with pytest.raises(ValueError, match="commit of 40 hexadecimal digits"):
            load("tiny", source)
    assert not asked


def test_another_checksum(asked, tmp_path):
    wrong = SOURCE[:-1] + ("0" if SOURCE[-1] != "0" else "1")
    with pytest.raises(ValueError, match=f"net.pth is not what .* its SHA-256 is {SHA256}. Remove"):
        fetch(wrong)


def test_offline(monkeypatch):
    def offline(*_, **__):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(OSError, match="cannot be downloaded .LocalEntryNotFoundError") as caught:
        fetch(SOURCE)
    url = f"https://huggingface.co/owner/some-net.v1/resolve/{COMMIT}/weights/net.pth"
    place = f"models--owner--some-net.v1/snapshots/{COMMIT}/weights/net.pth"
    assert url in str(caught.value)
    assert place in str(caught.value)


def test_a_file_put_where_the_message_says_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    with pytest.raises(OSError) as caught:
        fetch(SOURCE)
    path = Path(str(caught.value).split(" at ")[1].split(", or anywhere")[0])
    assert cache in path.parents
    path.parent.mkdir(parents=True)
    shutil.copy(FILE, path)
    assert fetch(SOURCE) == path


def test_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"takes huggingface_hub: pip install 'jaxcnn\[hub\]'"):
        fetch(SOURCE)
