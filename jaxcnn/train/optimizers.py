"""Optimizers by name, all from Optax."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import jax
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
    freeze: Sequence[str] = (),
    multipliers: Mapping[str, float] | None = None,
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
        freeze: globs of parameter paths, such as "layer1/*" (`*` goes through slashes): these
            parameters never change. Batch statistics are no parameters and go on following the
            data, as in PyTorch.
        multipliers: glob -> what the learning rate (and decoupled weight decay) of its parameters
            is multiplied by; the last glob that matches counts.

    Returns:
        a transformation whose `update` also takes what lbfgs needs (value, grad, value_fn).

    Raises:
        ValueError: an unknown name, a negative number, or lbfgs with freeze or multipliers;
            when the optimizer meets the parameters, a glob that matches none of them (of those
            that are trained, for multipliers), or nothing left to train.
    """
    multipliers = multipliers or {}
    if name not in OPTIMIZERS:
        raise ValueError(
            f"make_optimizer: no optimizer named {name!r}. Known: {', '.join(OPTIMIZERS)}."
        )
    if weight_decay < 0:
        raise ValueError(f"make_optimizer: weight_decay must not be negative, got {weight_decay}.")
    if clip_norm is not None and clip_norm <= 0:
        raise ValueError(f"make_optimizer: clip_norm must be positive, got {clip_norm}.")
    if name == "lbfgs" and (freeze or multipliers):
        raise ValueError(
            "make_optimizer: lbfgs takes no freeze and no multipliers, its line search moves "
            "everything alike."
        )
    for glob, factor in multipliers.items():
        if factor < 0:
            raise ValueError(f"make_optimizer: {glob}'s multiplier is negative, got {factor}.")
    decay = weight_decay or None
    return combined(name, learning_rate, momentum, decay, clip_norm, freeze, multipliers)


def combined(
    name: str,
    learning_rate: float | Schedule,
    momentum: Any,
    weight_decay: Any,
    clip_norm: float | None,
    freeze: Sequence[str],
    multipliers: Mapping[str, float],
) -> optax.GradientTransformationExtraArgs:
    """What `make_optimizer` makes, unchecked: momentum and decay may be traced, or no decay None.

    The form of its state does not depend on their values.
    """
    parts = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    if weight_decay is not None and name not in DECOUPLED:
        parts.append(optax.add_decayed_weights(weight_decay, mask=weights_mask))
    weight_decay = 0.0 if weight_decay is None else weight_decay
    parts.append(OPTIMIZERS[name](learning_rate, momentum, weight_decay))
    if multipliers:
        parts.append(_multiply(multipliers))
    optimizer = optax.chain(*parts)
    if freeze:
        transforms: dict[Hashable, Any] = {"trained": optimizer, "frozen": optax.set_to_zero()}
        optimizer = optax.partition(transforms, lambda params: _labels(freeze, params))
    return optax.with_extra_args_support(optimizer)


def _multiply(multipliers: Mapping[str, float]) -> optax.GradientTransformation:
    """Each update times the multiplier of its parameter."""

    def init(params: Any) -> optax.EmptyState:
        _check_globs("multipliers", tuple(multipliers), params, "trained parameter")
        return optax.EmptyState()

    def factor(path: Any, update: Any) -> Any:
        found = [f for glob, f in multipliers.items() if fnmatchcase(_name(path), glob)]
        return update * found[-1] if found else update

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree_util.tree_map_with_path(factor, updates), state

    return optax.GradientTransformation(init, update)


def _labels(freeze: Sequence[str], params: Any) -> Any:
    def label(path: Any, _: Any) -> str:
        return "frozen" if any(fnmatchcase(_name(path), glob) for glob in freeze) else "trained"

    _check_globs("freeze", freeze, params, "parameter")
    labels = jax.tree_util.tree_map_with_path(label, params)
    if "trained" not in jax.tree.leaves(labels):
        raise ValueError(f"make_optimizer: freeze {', '.join(freeze)} leaves nothing to train.")
    return labels


def _check_globs(option: str, globs: Sequence[str], params: Any, kind: str) -> None:
    names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise ValueError(
                f"make_optimizer: {option} {glob!r} matches no {kind}; there are "
                f"{', '.join(names[:3])} ... {names[-1]}."
            )


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
