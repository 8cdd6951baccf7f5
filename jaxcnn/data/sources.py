"""Sources by name: one table, and what loads from it."""

import difflib
import os
from collections.abc import Callable

from jaxcnn.data.datasets import Dataset
from jaxcnn.data.embedded import load_digits, load_synthetic

EMBEDDED: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "synthetic": load_synthetic,
}


def names() -> tuple[str, ...]:
    """Every source that `load` knows, as one writes it."""
    return ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "folder:PATH", "synthetic")


def load(
    name: str, *, path: str | os.PathLike[str] | None = None, download: bool = True
) -> Dataset:
    """The data set of this name."""
    if name in EMBEDDED:
        return EMBEDDED[name]()
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"load: no source is called {name!r}.{hint} There are {', '.join(names())}.")
