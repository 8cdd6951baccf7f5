"""Learning-rate schedules by name: functions from the step to the learning rate."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import optax

Schedule = Callable[[Any], Any]  # step, an int or traced, -> learning rate

ScheduleName = Literal[
    "constant", "inverse-sqrt", "step", "exponential", "cosine", "warmup-cosine", "one-cycle"
]
SCHEDULES: tuple[str, ...] = get_args(ScheduleName)


def make_schedule(
    name: str,
    learning_rate: float,
    *,
    epochs: float,
    steps_per_epoch: float,
    warmup_epochs: float = 1.0,
    decay_factor: float = 0.1,
    decay_epochs: float = 10.0,
) -> Schedule:
    r"""The schedule of that name; t counts steps from 0, T is their number.

    - constant: eta
    - inverse-sqrt: eta / sqrt(t + 1)
    - step: eta f^floor(t / d), with f = `decay_factor` and d = `decay_epochs` in steps
    - exponential: eta f^(t / d)
    - cosine: eta (1 + cos(pi t / T)) / 2
    - warmup-cosine: linear from 0 to eta over `warmup_epochs`, then cosine
    - one-cycle: from eta / 25 up to eta over the first 30 % of the steps, then down to
      eta / 250,000, both along a cosine

    Args:
        name: one of `SCHEDULES`.
        learning_rate: eta, the largest one.
        epochs: length of the whole training.
        steps_per_epoch: optimizer steps in an epoch, on average where they go over its end.
        warmup_epochs: length of the linear warm-up of warmup-cosine.
        decay_factor: what step and exponential multiply by.
        decay_epochs: how often they do.

    Raises:
        ValueError: an unknown name, or a warm-up that leaves no step for the cosine.

    Example:
        >>> halving = make_schedule(
        ...     "step", 1.0, epochs=3, steps_per_epoch=10, decay_factor=0.5, decay_epochs=1
        ... )
        >>> [round(float(halving(t)), 3) for t in (0, 9, 10, 29)]
        [1.0, 1.0, 0.5, 0.25]

    Reference:
        Loshchilov & Hutter (2017), SGDR; Smith & Topin (2019), Super-convergence.
    """
    steps = max(round(epochs * steps_per_epoch), 1)
    period = max(round(decay_epochs * steps_per_epoch), 1)
    warmup = round(warmup_epochs * steps_per_epoch)
    if name == "warmup-cosine" and warmup >= steps:
        raise ValueError(
            f"make_schedule: warmup_epochs must be less than epochs, "
            f"got {warmup_epochs} of {epochs}."
        )
    match name:
        case "constant":
            return optax.constant_schedule(learning_rate)
        case "inverse-sqrt":
            return lambda t: learning_rate / (t + 1.0) ** 0.5
        case "step":
            return optax.exponential_decay(learning_rate, period, decay_factor, staircase=True)
        case "exponential":
            return optax.exponential_decay(learning_rate, period, decay_factor)
        case "cosine":
            return optax.cosine_decay_schedule(learning_rate, steps)
        case "warmup-cosine":
            return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, steps)
        case "one-cycle":
            return optax.cosine_onecycle_schedule(steps, learning_rate)
    raise ValueError(f"make_schedule: no schedule named {name!r}. Known: {', '.join(SCHEDULES)}.")
