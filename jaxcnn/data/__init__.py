"""Image sources by name, and their batches; the only room that opens data files."""

from jaxcnn.data.augmentation import cutout, flip, mixup, pad_crop
from jaxcnn.data.batching import batches, split_validation, steps_per_epoch
from jaxcnn.data.datasets import Dataset, Split
from jaxcnn.data.idx import read_idx
from jaxcnn.data.images import (
    center_crop,
    normalize,
    read_image,
    resize,
    resize_shorter,
    to_channels,
)
from jaxcnn.data.pictures import Pictures
from jaxcnn.data.sources import found, load, names

__all__ = [
    "Dataset",
    "Pictures",
    "Split",
    "batches",
    "center_crop",
    "cutout",
    "flip",
    "found",
    "load",
    "mixup",
    "names",
    "normalize",
    "pad_crop",
    "read_idx",
    "read_image",
    "resize",
    "resize_shorter",
    "split_validation",
    "steps_per_epoch",
    "to_channels",
]
