"""How the benchmarks take time: all candidates by turns, after warm-up."""

import functools
import importlib.util
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "torchvision"))
TORCH = sys.executable if HAS_TORCH else ""  # a Python that has it
Call = Callable[[], object]  # returns when the work is done; if a float, then the seconds it took
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
    told = call()
    return told if isinstance(told, float) else time.perf_counter() - began


class Peer:
    """PyTorch, in the process of a Python that has it."""

    def __init__(self, python: str) -> None:
        """Start it; raises OSError where there is no such Python, RuntimeError without PyTorch."""
        self._command = [python, str(Path(__file__).parent / "torch_peer.py")]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        self._answer()

    def calls(self, maker: str, **options: Any) -> dict[str, Call]:
        """Calls by name, which `torch_peer` makes."""
        number, names = self._ask("make", maker, options)
        return {name: functools.partial(self._ask, "run", number, name) for name in names}

    def forget(self) -> None:
        """Let go of all calls made so far."""
        self._ask("forget")

    def _ask(self, *request: Any) -> Any:
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            with self._process:  # closes the pipes
                raise RuntimeError(f"Peer: `{' '.join(self._command)}` has ended.")
        return json.loads(line)
