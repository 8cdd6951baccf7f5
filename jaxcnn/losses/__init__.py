"""Losses, one value per example (the caller takes the mean), and penalties on parameters."""

from jaxcnn.losses.binary import bce, bce_with_logits, focal, hinge
from jaxcnn.losses.classification import (
    cross_entropy,
    kl_divergence,
    multiclass_hinge,
    nll,
    zero_one,
)
from jaxcnn.losses.margins import structured
from jaxcnn.losses.penalties import l1_penalty, l2_penalty, weights_mask
from jaxcnn.losses.regression import huber, l1, mse, squared_error

__all__ = [
    "bce",
    "bce_with_logits",
    "cross_entropy",
    "focal",
    "hinge",
    "huber",
    "kl_divergence",
    "l1",
    "l1_penalty",
    "l2_penalty",
    "mse",
    "multiclass_hinge",
    "nll",
    "squared_error",
    "structured",
    "weights_mask",
    "zero_one",
]
