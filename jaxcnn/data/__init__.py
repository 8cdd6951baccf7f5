"""Image sources by name, and their batches; the only room that opens data files."""

from jaxcnn.data.batching import batches, split_validation, steps_per_epoch
from jaxcnn.data.datasets import Dataset, Split
from jaxcnn.data.images import normalize, resize, to_channels
from jaxcnn.data.sources import load, names

__all__ = [
    "Dataset",
    "Split",
    "batches",
    "load",
    "names",
    "normalize",
    "resize",
    "split_validation",
    "steps_per_epoch",
    "to_channels",
]
