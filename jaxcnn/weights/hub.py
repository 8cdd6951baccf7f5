"""Weight files of the Hugging Face hub, pinned to a commit and to their content."""

import hashlib
import re
from pathlib import Path

SCHEME = "hub:"
FORM = "hub:OWNER/NAME@REVISION:FILE#SHA256"
PARTS = re.compile(
    r"hub:(?P<name>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40}):(?P<file>[^#]+)#(?P<sha256>[0-9a-f]{64})",
    re.ASCII,
)


def fetch(source: str) -> Path:
    """The file of a hub's source on this machine, downloaded where it was not yet.

    Args:
        source: hub:OWNER/NAME@REVISION:FILE#SHA256 with the commit's 40 and the checksum's 64
            hexadecimal digits: branches and tags move, and what a name leads to may change.

    Returns:
        where the file lies, its checksum verified.

    Raises:
        ValueError: a source with parts missing, or a file of another checksum.
        ImportError: huggingface_hub is not installed.
        OSError: no way to the hub, or no such file there; the message says where to put it.
    """
    parts = PARTS.fullmatch(source)
    if not parts:
        raise ValueError(
            f"fetch: a source of the hub is {FORM}, with a commit of 40 hexadecimal digits and a "
            f"checksum of 64, got {source}."
        )
    name, revision, file, sha256 = parts.groups()
    try:
        import huggingface_hub
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError as error:
        raise ImportError(
            f"fetch: {source} takes huggingface_hub: pip install 'jaxcnn[hub]'."
        ) from error
    try:
        path = Path(huggingface_hub.hf_hub_download(name, file, revision=revision))
    except OSError as error:
        folder = Path(HF_HUB_CACHE, f"models--{name.replace('/', '--')}", "snapshots", revision)
        raise OSError(
            f"fetch: {source} cannot be downloaded ({type(error).__name__}). By hand: put "
            f"https://huggingface.co/{name}/resolve/{revision}/{file} at {folder / file}, or "
            "anywhere, and give that path instead."
        ) from error
    with open(path, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(
            f"fetch: {path} is not what {source} should be: its SHA-256 is {found}. Remove it to "
            "download it again."
        )
    return path
