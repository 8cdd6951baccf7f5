"""What is known about published ImageNet weights, and ImageNet's classes.

published.csv and imagenet_classes.txt are tables of facts, made by tests/golden/make_published.py.
"""

import csv
import os
import re
import warnings
from functools import cache
from pathlib import Path, PurePath
from typing import NamedTuple, cast

from jaxcnn import models
from jaxcnn.data.images import Interpolation


class Preprocessing(NamedTuple):
    """What a photo goes through before a net sees it."""

    resize: int  # what the shorter side is resized to, pixels
    crop: int  # height and width of the middle that is kept, pixels
    interpolation: Interpolation
    mean: tuple[float, ...]  # of each channel, of images scaled to [0, 1]
    std: tuple[float, ...]
    channels: str = "RGB"  # or BGR; mean and std are in that order


class Published(NamedTuple):
    """A file of weights that somebody published."""

    model: str
    tag: str  # the version's name at its source
    url: str
    preprocessing: Preprocessing
    top1: float  # accuracy on ImageNet's validation images as its source states it, percent
    top5: float
    source: str  # where the recipe or the original weights are told of

    @property
    def file(self) -> str:
        """The file's name."""
        return PurePath(self.url).name

    @property
    def sha256_prefix(self) -> str:
        """How the file's SHA-256 begins in hexadecimal digits, which end its name."""
        return PurePath(self.url).stem.rpartition("-")[2]


def published(name: str) -> tuple[Published, ...]:
    """The published ImageNet weights of a model, its default first; empty where there are none.

    Args:
        name: one of `models.names()`.

    Raises:
        ValueError: an unknown name, with the nearest known one.

    Example:
        >>> [(p.tag, p.top1, p.file) for p in published("resnet18")]
        [('IMAGENET1K_V1', 69.758, 'resnet18-f37072fd.pth')]

    """
    models.entry(name)
    return _table().get(name, ())


def preprocessing(name: str, file: str | os.PathLike[str] | None = None) -> Preprocessing:
    """The preprocessing that a model's published weights want.

    Args:
        name: one of `models.names()`.
        file: path or source of the weights. Where its last part is the name of a published file it
            is that file's preprocessing, else that of the model's default weights; where the
            model has several that differ, a warning says so.

    Raises:
        ValueError: an unknown model, or one without published weights.

    Example:
        >>> how = preprocessing("resnet50", "downloads/resnet50-0676ba61.pth")
        >>> how.resize, how.crop, how.interpolation
        (256, 224, 'bilinear')

    """
    rows = published(name)
    if not rows:
        raise ValueError(
            f"preprocessing: no weights of {name} are published that would say how to prepare "
            "its images; a run directory of `jaxcnn train` does."
        )
    known = {row.file: row for row in rows}
    given = "" if file is None else _file_name(file)
    found = known.get(given, rows[0])
    if given not in ("", found.file) and len({row.preprocessing for row in rows}) > 1:
        warnings.warn(
            f"preprocessing: {given} is none of {name}'s published files ({', '.join(known)}); "
            f"its images are prepared as {found.file} wants it.",
            stacklevel=2,
        )
    return found.preprocessing


def _file_name(source: str | os.PathLike[str]) -> str:
    """The last part of a path, or of hub:OWNER/NAME@REVISION:FILE#SHA256."""
    text = os.fspath(source)
    if text.startswith("hub:"):
        text = text.partition("#")[0]
    return re.split(r"[/\\:]", text)[-1]


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order of their indices.

    Example:
        >>> imagenet_classes()[285]
        'Egyptian cat'

    """
    return tuple(_lines("imagenet_classes.txt"))


@cache
def _table() -> dict[str, tuple[Published, ...]]:
    rows: dict[str, tuple[Published, ...]] = {}
    for fields in csv.DictReader(_lines("published.csv")):
        row = _published(fields)
        rows[row.model] = (*rows.get(row.model, ()), row)
    return rows


def _published(fields: dict[str, str]) -> Published:
    how = Preprocessing(
        resize=int(fields["resize"]),
        crop=int(fields["crop"]),
        interpolation=cast(Interpolation, fields["interpolation"]),
        mean=tuple(map(float, fields["mean"].split())),
        std=tuple(map(float, fields["std"].split())),
        channels=fields["channels"],
    )
    return Published(
        fields["model"],
        fields["tag"],
        fields["url"],
        how,
        top1=float(fields["top1"]),
        top5=float(fields["top5"]),
        source=fields["source"],
    )


def _lines(file: str) -> list[str]:
    """The lines of a file beside this one, without its comments."""
    lines = Path(__file__).with_name(file).read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]
