"""A row of the table of models: each architecture's file has its variants as such rows."""

from collections.abc import Callable
from typing import NamedTuple

from flax import linen as nn


class Entry(NamedTuple):
    """What builds a model, the images that it takes, and where its stages end."""

    constructor: Callable[..., nn.Module]
    input_shape: tuple[int, int, int] = (224, 224, 3)  # the usual h, w, c in pixels
    smallest: int = 1  # height and width, in pixels
    stages: tuple[str, ...] = ()  # names in `activations`, in the order of the flow
