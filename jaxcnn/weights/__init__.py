"""Weights from elsewhere: torchvision's and timm's checkpoints as variables of `jaxcnn.models`."""

from jaxcnn.weights.imagenet import (
    Preprocessing,
    Published,
    imagenet_classes,
    preprocessing,
    published,
)
from jaxcnn.weights.inputs import preprocess
from jaxcnn.weights.loading import load, pretrained
from jaxcnn.weights.reading import read
from jaxcnn.weights.safetensors_files import load_safetensors, save_safetensors
from jaxcnn.weights.translation import from_torch, to_torch

__all__ = [
    "Preprocessing",
    "Published",
    "from_torch",
    "imagenet_classes",
    "load",
    "load_safetensors",
    "preprocess",
    "preprocessing",
    "pretrained",
    "published",
    "read",
    "save_safetensors",
    "to_torch",
]
