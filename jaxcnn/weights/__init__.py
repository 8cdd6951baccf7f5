"""Weights from elsewhere: torchvision's and timm's checkpoints as variables of `jaxcnn.models`."""

from jaxcnn.weights.translation import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
