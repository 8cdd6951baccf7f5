"""How the benchmarks take time: all candidates by turns in one process, after warm-up."""

import random
import time
from collections.abc import Callable, Mapping
from statistics import median

Call = Callable[[], object]  # returns when the work is done
TURN = 0.025  # seconds that a turn lasts at least
REST = 0.01  # seconds between turns: the threads of the one before go on spinning for a while


def interleaved(calls: Mapping[str, Call], seconds: float, turns: int = 3) -> dict[str, float]:
    """Median seconds of a call of each.

    Args:
        calls: by name; each is called twice before anything counts.
        seconds: how long all of it lasts, about.
        turns: how many each takes at least, in random order; the first of a turn's calls, where it
            has more than one, is not counted.
    """
    many = {}
    for name, call in calls.items():
        call()
        many[name] = max(1, min(20, int(TURN / elapsed(call))))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names, shuffle = list(calls), random.Random(0)
    end, turn = time.perf_counter() + seconds, 0
    while turn < turns or time.perf_counter() < end:
        for name in shuffle.sample(names, len(names)):
            time.sleep(REST)
            if many[name] > 1:
                calls[name]()
            taken[name] += [elapsed(calls[name]) for _ in range(many[name])]
        turn += 1
    return {name: median(times) for name, times in taken.items()}


def elapsed(call: Call) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
