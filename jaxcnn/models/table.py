"""The table of models: name -> constructor and the image that it is drawn for."""

import difflib
import inspect
from typing import Any

from flax import linen as nn

from jaxcnn.models import (
    alexnets,
    cifar_resnet,
    convnext,
    densenet,
    efficientnet,
    efficientnet_lite,
    googlenet,
    inception,
    mnasnet,
    mobilenet_v2,
    mobilenet_v3,
    regnet,
    resnet,
    shufflenet,
    squeezenet,
    vgg,
    wide_resnet,
)
from jaxcnn.models.convnet import ConvNet
from jaxcnn.models.entries import Entry
from jaxcnn.models.lenet import LeNet
from jaxcnn.models.lenet5 import LeNet5
from jaxcnn.models.mlp import MLP
from jaxcnn.models.perceptron import Perceptron
from jaxcnn.models.tiny import Tiny

MODELS: dict[str, Entry] = {
    "perceptron": Entry(Perceptron, (1, 1, 1), 1),
    "mlp": Entry(MLP, (32, 32, 3), 1),
    "tiny": Entry(Tiny, (3, 3, 1), 3),
    "lenet5": Entry(LeNet5, (32, 32, 1), 28),
    "lenet": Entry(LeNet, (28, 28, 1), 12),
    "convnet": Entry(ConvNet, (32, 32, 3), 8),
    **alexnets.VARIANTS,
    **vgg.VARIANTS,
    **squeezenet.VARIANTS,
    **googlenet.VARIANTS,
    **inception.VARIANTS,
    **resnet.VARIANTS,
    **cifar_resnet.VARIANTS,
    **wide_resnet.VARIANTS,
    **densenet.VARIANTS,
    **efficientnet.VARIANTS,
    **efficientnet_lite.VARIANTS,
    **mobilenet_v2.VARIANTS,
    **mobilenet_v3.VARIANTS,
    **mnasnet.VARIANTS,
    **shufflenet.VARIANTS,
    **regnet.VARIANTS,
    **convnext.VARIANTS,
}


def names() -> tuple[str, ...]:
    """The models that `create` knows."""
    return tuple(MODELS)


def entry(name: str) -> Entry:
    """The table's row of that name.

    Raises:
        ValueError: an unknown name, with the nearest known one.
    """
    if name not in MODELS:
        raise ValueError(f"models: no model named {name!r}{_nearest(name, MODELS)}")
    return MODELS[name]


def create(name: str, **options: Any) -> nn.Module:
    """The model of that name, a Linen module.

    Args:
        name: one of `names()`.
        options: fields of the model's class: `num_classes`, `dtype`, and what it has besides.

    Raises:
        ValueError: an unknown name or option, with the nearest known one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = create("lenet", num_classes=7)
        >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
        >>> model.apply(variables, jnp.zeros((2, 28, 28, 1))).shape
        (2, 7)
    """
    known = defaults(name)
    for option, value in options.items():
        if option not in known:
            raise ValueError(f"models: {name} has no option {option!r}{_nearest(option, known)}")
        _check_kind(name, option, value, known[option])
    return entry(name).constructor(**{k: _tuples(v) for k, v in options.items()})


def _tuples(value: Any) -> Any:
    """Lists, as JSON writes them, as tuples: modules are static arguments, which are hashed."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def defaults(name: str) -> dict[str, Any]:
    """The options that `create` takes for that model, and what they are where not given."""
    parameters = inspect.signature(entry(name).constructor).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in ("parent", "name")}


KINDS = {bool: (bool,), int: (int,), float: (int, float), tuple: (tuple, list)}


def _check_kind(name: str, option: str, value: Any, default: Any) -> None:
    """An option has the kind of its default; True is no number."""
    kinds = KINDS.get(type(default), (object,))
    number = type(default) in (int, float)
    if not isinstance(value, kinds) or (number and isinstance(value, bool)):
        raise ValueError(
            f"models: {name}'s option {option} must be {type(default).__name__} like its default "
            f"{default!r}, got {value!r}."
        )


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else "."
    return f"{guess} Known: {', '.join(known)}."
