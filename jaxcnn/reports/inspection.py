"""The report of one model: every section, its pictures, and the page that holds them."""

import time
from collections.abc import Callable
from pathlib import Path

from jaxcnn.reports import answers, looks
from jaxcnn.reports.pages import Section, write_page
from jaxcnn.reports.subjects import Subject


def write_report(
    about: Subject, directory: Path, *, say: Callable[[str], None] = lambda line: None
) -> Path:
    """Look inside a model and write what is seen: report.html and a PNG for each picture.

    Args:
        about: of `subject`.
        directory: is made where it is missing; files of these names in it are replaced.
        say: told of each section as it is done, with its time.

    Returns:
        the page's path.
    """
    directory.mkdir(parents=True, exist_ok=True)
    sections: list[Section] = []
    for make in (
        looks.guesses_section,
        answers.attributions_section,
        looks.layers_section,
        looks.filters_section,
        looks.activations_section,
        looks.patches_section,
        answers.ascent_section,
        *((answers.run_section,) if about.run else ()),
    ):
        began = time.perf_counter()
        sections.append(make(about, directory))
        say(f"{sections[-1].title:<32} {time.perf_counter() - began:6.1f} s")
    return write_page(
        directory / "report.html",
        f"Inside {about.title}",
        f"From {about.origin}: what the model says of {len(about.images)} images, why, and what "
        "it has learnt.",
        sections,
    )
