"""Optimizers by name, all from Optax."""

from collections.abc import Callable
from typing import Any, Literal

import optax

from jaxcnn.losses.penalties import weights_mask
from jaxcnn.train.schedules import Schedule

OptimizerName = Literal[
    "sgd",
    "momentum",
    "nesterov",
    "adam",
    "adamw",
    "adagrad",
    "adadelta",
    "rmsprop",
    "lion",
    "lbfgs",
]
# name -> optimizer of (learning rate or schedule, momentum, weight decay)
OPTIMIZERS: dict[str, Callable[[Any, float, float], optax.GradientTransformation]] = {
    "sgd": lambda eta, momentum, decay: optax.sgd(eta),
    "momentum": lambda eta, momentum, decay: optax.sgd(eta, momentum),
    "nesterov": lambda eta, momentum, decay: optax.sgd(eta, momentum, nesterov=True),
    "adam": lambda eta, momentum, decay: optax.adam(eta),
    "adamw": lambda eta, momentum, decay: optax.adamw(eta, weight_decay=decay, mask=weights_mask),
    "adagrad": lambda eta, momentum, decay: optax.adagrad(eta),
    "adadelta": lambda eta, momentum, decay: optax.adadelta(eta),
    "rmsprop": lambda eta, momentum, decay: optax.rmsprop(eta, momentum=momentum or None),
    "lion": lambda eta, momentum, decay: optax.lion(eta, weight_decay=decay, mask=weights_mask),
    "lbfgs": lambda eta, momentum, decay: optax.lbfgs(eta),
}
DECOUPLED = ("adamw", "lion")  # they take the weight decay themselves


def make_optimizer(
    name: str,
    learning_rate: float | Schedule,
    *,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer of that name, with weight decay on kernels only and gradient clipping.

    Args:
        name: one of `OPTIMIZERS`.
        learning_rate: a number, or a schedule of the step.
        momentum: for momentum, nesterov and rmsprop.
        weight_decay: for adamw and lion decoupled from the gradient (Loshchilov & Hutter 2019);
            for the others `weight_decay * kernel` is added to the gradient, as in PyTorch. Biases
            and norm scales are left out.
        clip_norm: gradients of a larger global norm are scaled down to it, before anything else.

    Returns:
        a transformation whose `update` also takes what lbfgs needs (value, grad, value_fn).

    Raises:
        ValueError: an unknown name or a negative number.
    """
    if name not in OPTIMIZERS:
        raise ValueError(
            f"make_optimizer: no optimizer named {name!r}. Known: {', '.join(OPTIMIZERS)}."
        )
    if weight_decay < 0:
        raise ValueError(f"make_optimizer: weight_decay must not be negative, got {weight_decay}.")
    if clip_norm is not None and clip_norm <= 0:
        raise ValueError(f"make_optimizer: clip_norm must be positive, got {clip_norm}.")
    parts = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    if weight_decay and name not in DECOUPLED:
        parts.append(optax.add_decayed_weights(weight_decay, mask=weights_mask))
    parts.append(OPTIMIZERS[name](learning_rate, momentum, weight_decay))
    return optax.with_extra_args_support(optax.chain(*parts))
