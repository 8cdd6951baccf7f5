"""Whose time it is: a profiler's trace as seconds of each operation, none counted twice."""

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax


class Event(NamedTuple):
    """Something that happens on a thread of the host or on a stream of a device; sorts by time."""

    time: float  # nanoseconds
    order: int  # among events of one time: END, BEGIN, TASK
    length: float  # of a span that begins, negative: of two, the longer one is the outer one
    line: int
    span: int  # which begins or ends on the line, or which task is given to the thread pool
    operation: str | int | None = None  # that the span works for, by name or as a task


END, BEGIN, TASK = range(3)


def read_trace(path: Path) -> tuple[dict[str, float], Counter[str]]:
    """The seconds that each operation takes in a trace (.xplane.pb), and how often it is called.

    Of several devices the first one counts.
    """
    events: list[Event] = []
    calls: Counter[str] = Counter()
    trace = jax.profiler.ProfileData.from_file(str(path))
    planes = {plane.name: plane for plane in trace.planes}
    devices = sorted(name for name in planes if re.match(r"/device:(GPU|TPU):\d+", name))
    plane = planes[devices[0] if devices else "/host:CPU"]
    with warnings.catch_warnings():  # of the class of an event's statistics, a matter of JAX's
        warnings.simplefilter("ignore", DeprecationWarning)
        for number, line in enumerate(plane.lines):
            if devices:
                events += _stream(number, line, calls)
            else:
                events += _thread(number, line, calls)
    return self_seconds(events), calls


def _stream(number: int, line: Any, calls: Counter[str]) -> Iterator[Event]:
    """A GPU's kernels, or a TPU's operations; other lines show the same time over again."""
    if not line.name.startswith(("Stream", "XLA Ops")):
        return
    for span, event in enumerate(line.events):
        name = dict(event.stats).get("hlo_op") or event.name.split(" = ")[0].lstrip("%")
        calls[name] += 1
        yield from _span(number, span, event, name)


def _thread(number: int, line: Any, calls: Counter[str]) -> Iterator[Event]:
    """The host's operations, and the thread pool's tasks that these hand out."""
    running: list[Event] = []
    for span, event in enumerate(line.events):
        if event.name == "ThreadpoolListener::Record":
            yield Event(event.start_ns, TASK, 0, number, dict(event.stats)["_p"])
        elif event.name == "ThreadpoolListener::StartRegion":
            task = dict(event.stats)["_c"]
            running.append(Event(event.start_ns, BEGIN, 0, number, ~task, task))
            yield running[-1]
        elif event.name == "ThreadpoolListener::StopRegion" and running:
            yield running.pop()._replace(time=event.start_ns, order=END)
        elif event.name == "ThunkExecutor::Execute":  # between operations
            yield from _span(number, span, event, None)
        elif (name := dict(event.stats).get("hlo_op")) is not None:
            name = name.partition("__onednn$")[0]  # the trace alone appends what is called
            calls[name] += 1
            yield from _span(number, span, event, name)


def _span(number: int, span: int, event: Any, operation: str | None) -> Iterator[Event]:
    start, length = event.start_ns, event.duration_ns
    if length > 0:
        begin = Event(start, BEGIN, -length, number, span, operation)
        yield begin
        yield begin._replace(time=start + length, order=END)


def self_seconds(events: Iterable[Event]) -> dict[str, float]:
    """The seconds of each operation, without those of the operations inside it.

    While n lines are at work, each gets 1/n of the time, so that all seconds together are those
    with an operation at work. A task counts for the operation that handed it out.
    """
    spent: dict[str, float] = defaultdict(float)
    owners: dict[int, str | None] = {}  # of the tasks
    stacks: dict[int, dict[int, str | None]] = {}  # on each line, the open spans
    working: dict[int, tuple[str, float]] = {}  # on each line, the operation and its start
    clock = now = 0.0  # the clock goes at 1/n of the speed while n lines are at work
    for event in sorted(events):
        clock += (event.time - now) / max(len(working), 1)
        now = event.time
        stack = stacks.setdefault(event.line, {})
        if event.order == TASK:
            owners[event.span] = next(reversed(stack.values()), None)
            continue
        if event.order == BEGIN:
            owner = event.operation
            stack[event.span] = owners.get(owner) if isinstance(owner, int) else owner
        else:
            stack.pop(event.span, None)
        if event.line in working:
            operation, start = working.pop(event.line)
            spent[operation] += (clock - start) / 1e9
        if (operation := next(reversed(stack.values()), None)) is not None:
            working[event.line] = operation, clock
    return spent
