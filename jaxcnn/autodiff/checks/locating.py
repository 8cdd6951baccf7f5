"""From a direction along which a derivative fails to the one input and output that are to blame."""

from collections.abc import Callable

import numpy as np

from jaxcnn.autodiff.checks.comparing import (
    INCONCLUSIVE,
    KINK,
    OK,
    STATUS,
    WRONG,
    WRONG_AT_KINK,
    Judged,
    Mode,
    Suspect,
    judge,
)
from jaxcnn.autodiff.checks.flattening import Elements
from jaxcnn.autodiff.checks.probing import on
from jaxcnn.autodiff.checks.reports import Comparison, Place

PARTS = 8  # that a failing support is split in
AGAIN = 3  # directions along which it is tried again


def comparison(mode: Mode, name: str) -> Comparison:
    """What a mode's comparison found, for the report."""
    place = _worst_place(mode)
    _, inconclusive, kinks, *wrong = mode.counts.tolist()
    return Comparison(
        name,
        checked=int(mode.counts.sum()),
        wrong=sum(wrong),
        kinks=kinks,
        inconclusive=inconclusive,
        difference=mode.difference,
        worst=place,
    )


def _worst_place(mode: Mode) -> Place | None:
    """The worst element; what looks wrong has to do so again, along other directions."""
    suspects = mode.worst[::-1]
    first = suspects[0]
    status = int(first.judged.status[0])
    if status == OK:
        return None
    if status == KINK:
        place = _located(mode, first)
        if place.status == STATUS[OK]:  # not along other lines
            mode.counts[OK] += mode.counts[KINK]
            mode.counts[KINK] = 0
            return None
        return place
    for suspect in suspects:
        if suspect.judged.status[0] >= WRONG_AT_KINK:
            place = _located(mode, suspect)
            if place.status in STATUS[WRONG_AT_KINK:]:
                return place
    if status != INCONCLUSIVE:
        # Kinks or jumps between the steps look like this; errors do not.
        for wrong, less in ((WRONG, INCONCLUSIVE), (WRONG_AT_KINK, KINK)):
            mode.counts[less] += mode.counts[wrong]
            mode.counts[wrong] = 0
        status = KINK if status == WRONG_AT_KINK else INCONCLUSIVE
    judged = first.judged._replace(status=np.array([status]))
    return _place(mode, judged, _outputs(mode, first), first.support)


def _located(mode: Mode, suspect: Suspect) -> Place:
    """A suspect narrowed down, to one input and output if it can be, and judged there."""
    least = min(int(suspect.judged.status[0]), WRONG_AT_KINK)
    k, chosen = suspect.output, _outputs(mode, suspect)
    one, support = _narrow(lambda part: _along(mode, part, k), suspect.support, least)
    if len(support) == 1:
        i = int(support[0])
        one, chosen = _narrow(lambda part: _of_outputs(mode, i, part), chosen, least)
        if len(chosen) == 1:
            one = _element(mode, i, int(chosen[0]))
    elif one.status[0] == WRONG_AT_KINK:
        # Many kinks at once may leave both slopes of their line; no single input is wrong.
        one = one._replace(status=np.array([KINK]))
    return _place(mode, one, chosen, support)


def _outputs(mode: Mode, suspect: Suspect) -> np.ndarray:
    if mode.sums is None:
        return np.array([suspect.output])
    return np.flatnonzero(mode.weights[suspect.output])


def _place(mode: Mode, one: Judged, outputs: np.ndarray, inputs: np.ndarray) -> Place:
    names = _together(mode.subject.outputs, outputs), _together(mode.subject.inputs, inputs)
    return Place(STATUS[one.status[0]], *names, *(float(values[0]) for values in one[1:]))


def _narrow(
    test: Callable[[np.ndarray], Judged], support: np.ndarray, least: int
) -> tuple[Judged, np.ndarray]:
    """Split a support while a part of it has at least that status: at best down to one number.

    The whole has to have it mostly when tried again: near kinks a slope may look wrong once.
    """
    one = sorted((test(support) for _ in range(AGAIN)), key=_badness)[AGAIN // 2]
    while len(support) > 1 and one.status[0] >= least:
        parts = np.array_split(support, min(PARTS, len(support)))
        tried = [test(part) for part in parts]
        found = max(tried, key=_badness)
        if found.status[0] < least:
            break
        support = next(part for part, judged in zip(parts, tried, strict=True) if judged is found)
        one = found
    return one, support


def _badness(one: Judged) -> tuple[int, float]:
    return int(one.status[0]), float(one.excess[0])


def _along(mode: Mode, support: np.ndarray, k: int) -> Judged:
    """Output k, or the k-th sum of them, along a fresh direction."""
    v = mode.subject.direction(mode.rng, support)
    return mode.judged(v, mode.subject.line(v)).pick(k)


def _of_outputs(mode: Mode, i: int, support: np.ndarray) -> Judged:
    """A fresh sum of those outputs by input i."""
    u = on(mode.rng, support, mode.subject.outputs.size)
    return _by_one(mode, i, u)


def _element(mode: Mode, i: int, j: int) -> Judged:
    """The derivative of output j by input i itself."""
    return _by_one(mode, i, np.eye(1, mode.subject.outputs.size, j)[0])


def _by_one(mode: Mode, i: int, u: np.ndarray) -> Judged:
    """The derivative of <u, outputs> by input i."""
    subject = mode.subject
    v = subject.direction(mode.rng, np.array([i]))
    if mode.mode == "forward":
        found = u @ subject.product("forward", v)
    else:
        found = subject.product("reverse", u) @ v
    slope = subject.slopes(subject.line(v), u[None])
    one = judge(slope, np.array([found]), rtol=mode.rtol, eps=subject.eps, scale=mode.scale)
    expected, found, allowed, left, right = (values / v[i] for values in one[1:])
    sides = (left, right) if v[i] > 0 else (right, left)
    return Judged(one.status, expected, found, np.abs(allowed), *sides)


def _together(elements: Elements, support: np.ndarray) -> str:
    first = elements.name(int(support[0]))
    return first if len(support) == 1 else f"{first} and {len(support) - 1} more together"
