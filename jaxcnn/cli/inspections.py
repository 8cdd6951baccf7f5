"""The verb `inspect`: a page of what a model has learnt and why it says what it says."""

from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.reports import subject, write_report


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
