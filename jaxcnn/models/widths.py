"""Numbers of channels that hardware likes."""

import math


def make_divisible(width: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to a width, but never less than 90 % of it.

    Args:
        width: channels wanted, such as those of a layer times a width multiplier.
        divisor: what the result is a multiple of.

    Returns:
        channels; at least `divisor`. Half-way between two multiples, the upper one.

    Raises:
        ValueError: a width or divisor that is not positive.

    Example:
        >>> make_divisible(32 * 0.75), make_divisible(20), make_divisible(11), make_divisible(3)
        (24, 24, 16, 8)

    Reference:
        Sandler et al. (2018), MobileNetV2, https://arxiv.org/abs/1801.04381, the authors' code.
    """
    if width <= 0 or divisor <= 0:
        raise ValueError(
            f"make_divisible: width and divisor must be positive, got {width} and {divisor}."
        )
    nearest = max(divisor, divisor * math.floor(width / divisor + 0.5))
    return nearest if nearest >= 0.9 * width else nearest + divisor
