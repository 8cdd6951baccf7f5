"""Other names under which a model's states go about, as functions from those names to its own."""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def standard_names(name: str, state: Mapping[str, T]) -> dict[str, T]:
    """The state with the names that torchvision or timm give the parameters of that model today.

    A wrapper's prefix `module.` (data-parallel training) is taken off.
    """
    if state and all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}
    for beginning, rename in ALIASES.items():
        if name.startswith(beginning):
            return {rename(k): v for k, v in state.items()}
    return dict(state)


def _densenet(k: str) -> str:
    """torchvision's own files still have `denselayer1.norm.1` for `denselayer1.norm1`."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2", k)


ALIASES: dict[str, Callable[[str], str]] = {"densenet": _densenet}  # by a name's beginning
