"""Weights from a file as variables of a model, whoever wrote the file."""

from pathlib import Path
from typing import Any

from flax import linen as nn
from jax import Array

from jaxcnn import models
from jaxcnn.weights.hub import SCHEME, fetch
from jaxcnn.weights.reading import read
from jaxcnn.weights.safetensors_files import is_ours, load_safetensors
from jaxcnn.weights.translation import classes, from_torch, to_torch


def load(
    name: str,
    source: str | Path,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
    key: Array | None = None,
    state: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The variables of `models.create(name)` from a file, strictly: each must fit, none be left.

    Args:
        name: one of `models.names()`.
        source: a path, of a file of `save_safetensors` or of a PyTorch state as `read` takes it;
            or a file of the Hugging Face hub, hub:OWNER/NAME@REVISION:FILE#SHA256 (it takes the
            extra `hub`).
        num_classes: of the model; by default the file's own. With another number the last layers
            are drawn afresh from `key`, and a warning names them; with 0 they are left out.
        input_shape: h, w, c of the images, where the parameters depend on it; by default the
            model's usual one.
        key: by default `jax.random.key(0)`.
        state: which entry of a PyTorch checkpoint that holds several states.
        options: the other options of `models.create`.

    Returns:
        {"params": ..., "batch_stats": ...} of NumPy arrays.

    Raises:
        ValueError: a file that cannot be read, or parameters that are missing, unexpected or of
            another shape, each by name.
        OSError: no such file, or no way to the hub.
        ImportError: an extra that is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, tempfile
        >>> from jaxcnn import models
        >>> from jaxcnn.weights import save_safetensors
        >>> variables = models.create("tiny").init(jax.random.key(0), jnp.ones((1, 3, 3, 1)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_safetensors(f"{folder}/tiny.safetensors", variables)
        ...     load("tiny", f"{folder}/tiny.safetensors")["params"]["conv"]["kernel"].shape
        (3, 3, 1, 3)

    """
    path = fetch(str(source)) if str(source).startswith(SCHEME) else Path(source)
    if is_ours(path):
        arrays = to_torch(name, load_safetensors(path), input_shape=input_shape, **options)
    else:
        arrays = read(path, state=state)
    return from_torch(
        name, arrays, num_classes=num_classes, input_shape=input_shape, key=key, **options
    )


def pretrained(
    name: str,
    source: str | Path,
    *,
    input_shape: tuple[int, int, int] | None = None,
    **options: Any,
) -> tuple[nn.Module, dict[str, Any]]:
    """A model of as many classes as the weights in a file are for, and these weights.

    Args:
        name: one of `models.names()`.
        source: as for `load`.
        input_shape: as for `load`.
        options: of `models.create`, without `num_classes`.

    Returns:
        (model, variables), for `model.apply(variables, x)`.

    Raises:
        ValueError, OSError, ImportError: as `load` says.
    """
    variables = load(name, source, input_shape=input_shape, **options)
    number = classes(name, variables, input_shape=input_shape, **options)
    return models.create(name, num_classes=number, **options), variables
