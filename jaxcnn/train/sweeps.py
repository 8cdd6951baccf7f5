"""Sweeps: many configs, trained together where that is faster, and compared by validation."""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import jax
from matplotlib.figure import Figure

from jaxcnn.lowering.choice import SIDE_BY_SIDE
from jaxcnn.plots import save, sweep_results
from jaxcnn.train.config import TrainConfig, to_json
from jaxcnn.train.directories import read_json
from jaxcnn.train.ledgers import ENDED, begin, write, write_best, write_table
from jaxcnn.train.members import Member, shape_of
from jaxcnn.train.metrics import Row
from jaxcnn.train.populations import Trainer, load_source, unstacked
from jaxcnn.train.runs import train_run
from jaxcnn.train.searches import Search, configs, rungs, survivors
from jaxcnn.train.standings import Record, standing, standings

Together = Literal["auto", "always", "never"]
TIMED = 5  # steps that tell which way is faster
ROOM = 0.8  # share of a device's memory that members may take,
HOST_ROOM = 0.5  # or of the machine's, where the device is its CPU


@dataclass
class Group:
    """Members of one shape."""

    members: dict[int, TrainConfig]
    width: int = 0  # members in one program on each device; 0 until that is known
    kept: dict[int, Member] = field(default_factory=dict)  # between two rungs


def sweep(
    search: Search,
    *,
    chunk: int | None = None,
    together: Together = "auto",
    alone: bool = True,
) -> dict[str, Any]:
    """Train all members of a search, and write how they do to the directory `search.config.out`.

    It holds sweep.json (after every epoch; a sweep that was killed goes on from it: members that
    ended are kept, the others start again), and at the end sweep.csv, sweep.png, best.json, whose
    "command" trains the best config alone, and best/, the run that this command gives. A run's
    numbers are those of its member up to rounding, which many steps of training can amplify.

    Members of one shape are trained by one program on each device. Points are ranked by the mean
    over their seeds of the best epoch's validation accuracy, then of its loss; a member that
    diverged counts as 0.

    Args:
        search: what to train.
        chunk: members in one program; by default as many as the devices' memory holds.
        together: whether members share a program; "auto" measures which way is faster.
        alone: train the best config once more, by itself.

    Returns:
        "members", each with "options", "status" and "history" (a row for each epoch), and "best",
        the number of the best one, None where all diverged.

    Raises:
        ValueError: options that do not fit together, or a directory that holds another sweep.
        FileNotFoundError: data that are not there.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"sweep: chunk must be at least 1, got {chunk}.")
    if jax.process_count() > 1:
        raise ValueError(f"sweep: runs in one process, got {jax.process_count()}.")
    directory = search.config.out
    if directory is None:
        raise ValueError("sweep: needs a directory to write to, got None.")
    everyone = configs(search)
    records, groups = begin(directory, search), _groups(everyone)

    @cache
    def trainer(group: str) -> Trainer:
        return Trainer(next(iter(groups[group].members.values())), source())

    source = cache(lambda: load_source(search.config, jax.devices()))
    with standings(records, search.config.epochs) as show:

        def note(doing: str, ended: bool = True) -> None:
            if ended:
                write(directory, search, records)
            show(doing)

        for goal in (*rungs(search), search.config.epochs):
            for name, group in groups.items():
                going = [i for i in group.members if records[i]["status"] not in ENDED]
                if not going:
                    continue
                if not group.width:
                    group.width = _width(trainer(name), group, chunk, together)
                _advance(trainer(name), group, going, goal, records, note)
            if goal < search.config.epochs:
                _halve(search, records, goal)
                note(f"the best go on after epoch {goal}")
    best = _best(search, records)
    write(directory, search, records, best)
    write_table(directory, records)
    save(_picture(records, best), directory / "sweep.png")
    if best is not None:
        config = everyone[best]
        if jax.device_count() > 1:  # a member has one device to itself
            config = replace(config, mesh="data=1")
        write_best(directory, config, records[best])
        if alone:
            _train_alone(replace(config, out=directory / "best"))
    return {"members": records, "best": best}


def _train_alone(config: TrainConfig) -> None:
    """A run of its own, unless that is done; one that was stopped goes on."""
    directory = config.out
    assert directory is not None
    if not (directory / "config.json").exists():
        found = train_run(config)
    elif (found := read_json(directory / "summary.json")).get("status") != "finished":
        found = train_run(config, resume=directory)
    if found["status"] == "interrupted":
        raise KeyboardInterrupt


def _groups(everyone: Sequence[TrainConfig]) -> dict[str, Group]:
    groups: dict[str, Group] = {}
    for i, config in enumerate(everyone):
        name = json.dumps(to_json(shape_of(config)))
        groups.setdefault(name, Group({})).members[i] = config
    return groups


def _width(trainer: Trainer, group: Group, chunk: int | None, together: Together) -> int:
    """How many members a device trains together, and a line that says so."""
    devices, everyone = trainer.mesh.size, list(group.members.values())
    most = -(-len(everyone) // devices)
    if chunk is not None:
        most = min(most, max(chunk // devices, 1))
    elif together != "never":
        most = min(most, _fitting(trainer, everyone[0]))
    if most == 1 or together == "never":
        print(f"{len(everyone)} members, each in a program of its own")
        return 1
    # Parts of one size: they share a program.
    parts = -(-len(everyone) // (most * devices))
    most = -(-len(everyone) // (parts * devices))
    text = f"{len(everyone)} members, {most * devices} in one program"
    if together == "always":
        print(text)
        return most
    members = [trainer.member(config) for config in everyone[: most * devices]]
    alone, both = trainer.stack(members[:devices]), trainer.stack(members)
    pairs = [(trainer.seconds(alone, TIMED), trainer.seconds(both, TIMED)) for _ in range(3)]
    ratio = min(a for a, _ in pairs) * most / min(b for _, b in pairs)
    if ratio > 1:
        print(f"{text}: {ratio:.2f} times as fast as one after the other")
        return most
    print(f"{len(everyone)} members one after the other: together they take {1 / ratio:.2f} times")
    return 1


def _fitting(trainer: Trainer, config: TrainConfig) -> int:
    """How many members a device takes: the memory of one is read from its program."""
    own, images = trainer.memory(trainer.stack([trainer.member(config)]))
    device = trainer.mesh.local_devices[0]
    limit, most = ROOM * (device.memory_stats() or {}).get("bytes_limit", 0), 2**31
    if device.platform == "cpu":
        most = SIDE_BY_SIDE
        if hasattr(os, "sysconf"):
            pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            limit = HOST_ROOM * pages / trainer.mesh.size
    if not (limit and own):
        return most
    return min(max(int((limit - images) / own), 1), most)


def _advance(
    trainer: Trainer,
    group: Group,
    going: Sequence[int],
    goal: int,
    records: Sequence[Record],
    note: Callable[..., None],
) -> None:
    """Train members up to an epoch, as many together as the group's width says."""
    epochs, size = trainer.shape.epochs, group.width * trainer.mesh.size
    for first in range(0, len(going), size):
        chunk = going[first : first + size]
        fresh = (group.kept.pop(i, None) or trainer.member(group.members[i]) for i in chunk)
        population = trainer.stack(list(fresh))
        for epoch in range(len(records[chunk[0]]["history"]), goal):
            doing = f"epoch {epoch + 1} of {epochs} of {len(chunk)} together"

            def tick(step: int, doing: str = doing) -> None:
                note(f"{doing}, step {step:,} of {trainer.steps:,}", ended=False)

            population, rows = trainer.epoch(population, epoch, tick)
            for i, row in zip(chunk, rows, strict=False):  # rows of what fills the devices go
                _enter(records[i], row, epoch + 1, epochs)
            note(doing)
            if all(records[i]["status"] in ENDED for i in chunk):
                break
        if goal < epochs:
            group.kept |= dict(zip(chunk, unstacked(population), strict=False))


def _enter(record: Record, row: Row, epoch: int, epochs: int) -> None:
    """Add an epoch to a member's record."""
    if record["status"] in ENDED:  # another member has its place
        return
    bad = row.pop("bad_step")
    if bad >= 0:
        record |= {"status": "diverged", "step": int(bad)}
        return
    record["history"].append({"epoch": epoch, **row})
    record["status"] = "finished" if epoch == epochs else "running"


def _halve(search: Search, records: Sequence[Record], epoch: int) -> None:
    """Stop all but the best of the points, unless that is done: the sweep may have been killed."""
    if any(r["status"] == "stopped" and len(r["history"]) == epoch for r in records):
        return
    alive = [p for p in _points(search, records) if any(r["status"] not in ENDED for r in p)]
    alive.sort(key=lambda point: _score(point, epoch), reverse=True)  # of equals the first
    for point in alive[survivors(search, epoch) :]:
        for record in point:
            if record["status"] not in ENDED:
                record["status"] = "stopped"


def _points(search: Search, records: Sequence[Record]) -> list[Sequence[Record]]:
    """The records of each point's seeds."""
    return [records[i : i + search.seeds] for i in range(0, len(records), search.seeds)]


def _score(point: Sequence[Record], epoch: int) -> tuple[float, float]:
    """The mean accuracy and loss (negative) of a point's seeds, up to an epoch."""
    cut = [record | {"history": record["history"][:epoch]} for record in point]
    accuracies, losses = zip(*(standing(record) for record in cut), strict=True)
    return sum(accuracies) / len(cut), sum(losses) / len(cut)


def _best(search: Search, records: Sequence[Record]) -> int | None:
    """The best member of the best point among those trained to the end."""
    scores = {
        n: _score(point, search.config.epochs)
        for n, point in enumerate(_points(search, records))
        if any(record["status"] == "finished" for record in point)
    }
    if not scores:
        return None
    first = max(scores, key=scores.__getitem__) * search.seeds
    finished = [i for i in range(first, first + search.seeds) if records[i]["status"] == "finished"]
    return max(finished, key=lambda i: standing(records[i]))


def _picture(records: Sequence[Record], best: int | None) -> Figure:
    """By the options that vary; by the seed where none does."""
    options = {name: [r["options"][name] for r in records] for name in records[0]["options"]}
    seeds = options.pop("seed")
    if all(len(set(values)) == 1 for values in options.values()):
        options = {"seed": seeds}
    sound = [record["status"] != "diverged" for record in records]
    scores = [standing(r)[0] if ok else math.nan for r, ok in zip(records, sound, strict=True)]
    return sweep_results(options, scores, best=best)
