"""The slope of a function along a line, from its values alone, with an estimate of the error.

Steps shrink on a ladder. A central difference has an error in h^2, Richardson's extrapolation of
two of them one in h^4; rounding grows as 1/h. Each output takes the rung where both together are
smallest, so that kinks which are near, but not at the point, are left behind by smaller steps.
"""

from typing import NamedTuple

import numpy as np

NOISE_POINTS = 7  # on each line where the noise is measured
SINGLE = float(np.finfo(np.float32).eps)
RUNGS = 6
CONFIRMS = 3  # errors within which slopes of two rungs are one
CLEAR = 20  # times the noise: what is surely no rounding
ALIKE = 0.75  # gaps of a kink stay; those of a curve shrink by 2 or more from rung to rung


class Slopes(NamedTuple):
    """Slopes of each output along one line."""

    value: np.ndarray  # the two-sided slope
    error: np.ndarray  # its estimated error; infinite where no rung is finite
    left: np.ndarray  # one-sided slopes where they disagree, infinite where the function jumps
    right: np.ndarray
    side_error: np.ndarray
    kinked: np.ndarray
    defined: np.ndarray  # the function is finite at the point itself


def ladder(eps: float) -> np.ndarray:
    """Steps from eps^(1/5) down to eps^(1/2), powers of two: products with them are exact."""
    bits = -np.log2(eps)
    first, last = np.round(bits / 5), np.round(bits / 2)
    return 0.5 ** np.unique(np.round(np.linspace(first, last, RUNGS)))


def representable(v: np.ndarray, x: np.ndarray, eps: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """A direction near v for which x + h v is a number of x's precision at every step."""
    spacing = eps * 2.0 ** np.floor(np.log2(np.maximum(np.abs(x) + steps[0] * np.abs(v), 1e-300)))
    ticks = np.round(steps[-1] * np.abs(v) / spacing)
    return np.sign(v) * np.maximum(ticks, 1) * spacing / steps[-1]


def noise_level(values: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """How far rounding moves each output.

    Fourth differences of neighbouring values cancel what is smooth; noise of size s leaves
    s sqrt(70). At least the rounding of the output itself is counted.

    Args:
        values: (line, point, output), equally spaced along each line.
        eps: of each output's dtype.

    Reference:
        Moré & Wild (2011), Estimating computational noise, https://doi.org/10.1137/100786125.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        fourth = np.diff(values, n=4, axis=1)
        measured = 2 * np.sqrt(np.mean(fourth**2, axis=(0, 1)) / 70)
        single = np.all(values == values.astype(np.float32), axis=(0, 1))
        eps = np.where(single, np.maximum(eps, SINGLE), eps)  # float32 inside, whatever comes out
        rounding = eps * np.max(np.abs(values), axis=(0, 1), initial=0, where=np.isfinite(values))
    return np.where(np.isfinite(measured), np.maximum(measured, rounding), rounding)


def slopes(
    base: np.ndarray, plus: np.ndarray, minus: np.ndarray, steps: np.ndarray, noise: np.ndarray
) -> Slopes:
    """The slopes from the values at the point and at the steps on both sides.

    Args:
        base: (output,) at the point.
        plus: (step, output) at x + h v.
        minus: (step, output) at x - h v.
        steps: the ladder.
        noise: (output,) as `noise_level` gives it.
    """
    h = steps[:, None]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        central = (plus - minus) / (2 * h)
        change = np.diff(central, axis=0)
        refined = central[1:] + change / ((h[:-1] / h[1:]) ** 2 - 1)
        apart = np.abs(np.diff(refined, axis=0))
        error = np.concatenate([apart, np.abs(change[-1:])])
        # Two rungs may agree by luck, so the whole correction counts: what it costs in sharpness
        # is far below a gradient's rtol.
        error = np.maximum(error, np.abs(refined - central[1:])) + noise / h[1:]
        error = np.where(np.isfinite(error), error, np.inf)
        best = np.argmin(np.where(_lasting(refined, error), error, np.inf), axis=0)[None]
        value = np.take_along_axis(refined, best, axis=0)[0]
        error = np.take_along_axis(error, best, axis=0)[0]
        left, right = (base - minus) / h, (plus - base) / h
        kinked, rung = _kinks(np.abs(right - left), CLEAR * noise / h)
        side_error = 4 * noise / steps[rung]
        left, right = (_at(side, rung) for side in (left, right))
        jumps = _jumps(np.abs(plus - base), noise) | _jumps(np.abs(minus - base), noise)
    left, right = np.where(jumps, -np.inf, left), np.where(jumps, np.inf, right)
    return Slopes(value, error, left, right, side_error, kinked | jumps, np.isfinite(base))


def _lasting(value: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Which rungs' slopes all smaller rungs confirm: a slope is what remains as h shrinks."""
    lasting = np.ones(value.shape, bool)
    for k in range(len(value) - 1):
        apart = np.abs(value[k + 1 :] - value[k])
        lasting[k] = ~np.any(apart > CONFIRMS * (error[k + 1 :] + error[k]), axis=0)
    return lasting


def _kinks(gap: np.ndarray, clear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the gap between the one-sided slopes stays over three rungs, and the last of them.

    A smaller rung that could see the gap and does not, shows that the kink is near, not here.
    """
    count, outputs = gap.shape
    kinked, rung = np.zeros(outputs, bool), np.full(outputs, count - 1)
    for k in range(2, count):
        stays = (gap[k] > clear[k]) & _alike(gap[k], gap[k - 1]) & _alike(gap[k - 1], gap[k - 2])
        for j in range(k + 1, count):
            stays &= ~((clear[j] < gap[k] / 2) & (gap[j] < ALIKE * gap[k]))
        kinked |= stays
        rung = np.where(stays, k, rung)
    return kinked, rung


def _jumps(rise: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Where the function itself does not come near its value: its rise stays as h shrinks."""
    stays = _alike(rise[-1], rise[-2]) & _alike(rise[-2], rise[-3])
    return stays & (rise[-1] > CLEAR * noise)


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a > ALIKE * b) & (b > ALIKE * a)


def _at(values: np.ndarray, rung: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, rung[None], axis=0)[0]
