"""The verb `inspect`: a page of what a model has learnt and why it says what it says."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.reports import subject, write_report


def options_first(words: Sequence[str]) -> list[str]:
    """The words of `inspect` with its options before all others, as argparse wants them.

    Example:
        >>> options_first(["lenet", "--weights", "own.pth", "a.png", "--out=b"])
        ['--weights', 'own.pth', '--out=b', 'lenet', 'a.png']
    """
    options, others, rest = [], [], iter(words)
    for word in rest:
        if not word.startswith("-"):
            others.append(word)
        elif "=" in word or word in ("-h", "--help"):
            options.append(word)
        else:  # its value is the next word
            options += [word, *itertools.islice(rest, 1)]
    return options + others


def inspect(
    paths: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL [IMAGE ...]")
    ],
    weights: str | None = None,
    out: Path | None = None,
) -> int:
    """Write report.html: filters, activations, top patches, attributions, ascent, mistakes.

    Args:
        paths: A run directory, or a model by name; then image files. Of a run, test images where
            there are none.
        weights: Weights of a model by name: a file of torchvision's, timm's or ours, or
            hub:OWNER/NAME@...
        out: Directory to write; by default inspect/ in the run's, or inspect-MODEL here.
    """
    if not paths:
        raise ValueError("inspect: needs a run directory or a model's name, got nothing.")
    source, *images = paths
    about = subject(source, [Path(image) for image in images], weights_source=weights)
    directory = out or (Path(source) / "inspect" if about.run else Path(f"inspect-{source}"))
    page = write_report(about, directory, say=print)
    print(f"Report: {page}")
    return 0
