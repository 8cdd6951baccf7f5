"""Models: thin Linen modules over `jaxcnn.functional`, one architecture a file.

A model is used through `model.init(key, x)` and `model.apply(variables, x, train=False)` ->
logits. In training: `model.apply(variables, x, train=True, mutable=["batch_stats"],
rngs={"dropout": key})` -> (logits, updated batch statistics).
"""

from jaxcnn.models.examples import example_loss
from jaxcnn.models.figures import Costs, costs
from jaxcnn.models.intermediates import activations
from jaxcnn.models.summary import summarize
from jaxcnn.models.table import create, defaults, entry, names

__all__ = [
    "Costs",
    "activations",
    "costs",
    "create",
    "defaults",
    "entry",
    "example_loss",
    "names",
    "summarize",
]
