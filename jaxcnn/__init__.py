"""jaxcnn: a JIT-compiled, functional CNN library on JAX.

The rooms, each imported when first used:

- `functional`: layers as pure functions of arrays; initializers; shapes
- `losses`: per-example losses and penalties
- `autodiff`: derivatives of any function: checked, compared, traced, drawn, counted
- `models`: Linen modules by name, with their named activations
- `data`: image sources, batches
- `weights`: checkpoints of torchvision and timm, read and translated
- `train`: step, evaluation, loop, checkpoints
- `plots`: arrays to figures
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxcnn import autodiff, data, functional, losses, models, plots, train, weights

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "autodiff",
    "data",
    "functional",
    "losses",
    "models",
    "plots",
    "train",
    "weights",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"jaxcnn.{name}")
    raise AttributeError(f"module 'jaxcnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
