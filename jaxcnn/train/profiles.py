"""Where the time of a training step goes: the costliest operations of the compiled program."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxcnn import data, models
from jaxcnn.lowering import compiler_options
from jaxcnn.train.config import TrainConfig, only_defaults
from jaxcnn.train.directories import fresh_directory
from jaxcnn.train.epochs import Totals, counted_step, empty_totals
from jaxcnn.train.inputs import load_data, make_augment, make_prepare
from jaxcnn.train.setups import optimizer_of, schedule_of, start_state
from jaxcnn.train.steps import Batch, State
from jaxcnn.train.timelines import read_trace

UNHEEDED = ("mesh", "shard_optimizer", "batch_norm", "weights")
WARM_UP = 3  # steps before the clock starts
TRACE = "perfetto_trace.json.gz"  # as JAX names it
# What makes a fusion costly, the costliest first.
TELLING = ("convolution", "dot", "select-and-scatter", "scatter", "reduce-window", "sort", "reduce")


class Instruction(NamedTuple):
    """An instruction of a compiled program."""

    kind: str  # such as "convolution", "dot fusion", "onednn$matmul"
    layer: str  # such as "conv1/conv_general_dilated", where the program tells
    backward: bool  # of the gradient


UNKNOWN = Instruction("", "", False)


class Cost(NamedTuple):
    """What one instruction takes of a step."""

    name: str  # in the compiled program and in the trace
    instruction: Instruction
    calls: float  # a step
    seconds: float  # a step; time with n instructions at work counts as 1/n of it for each


class Profile(NamedTuple):
    """What `profile_steps` found."""

    costs: list[Cost]  # the costliest first
    step_seconds: float  # without the profiler
    traced_seconds: float  # of a step with it: what the costs are parts of
    images_per_second: float  # without the profiler
    device: str
    trace: Path  # for https://ui.perfetto.dev


def profile_steps(config: TrainConfig, *, steps: int = 20) -> Profile:
    """Run training steps on one batch after a warm-up, first timed, then traced.

    A step augments and prepares the batch, and trains as `train_run` does; reading the images from
    the disk is not in it. The trace is written to `config.out`, by default
    profiles/DATE-TIME-MODEL, as perfetto_trace.json.gz, which https://ui.perfetto.dev opens.

    Args:
        config: as for `train_run`.
        steps: how many are timed, and how many traced.

    Raises:
        ValueError: fewer than one step, a directory that holds a trace already, options that do
            not fit together, or a device whose operations the profiler does not tell.
        FileNotFoundError: data that are not there.
    """
    if steps < 1:
        raise ValueError(f"profile_steps: steps must be at least 1, got {steps}.")
    only_defaults("profile", config, UNHEEDED)
    directory = config.out or fresh_directory(config.model, "profiles")
    if (directory / TRACE).exists():
        raise ValueError(f"profile_steps: {directory} holds a trace already; choose another.")
    state, batch, step = _training(config)
    compiled = step.lower(state, batch).compile()
    state, _ = _run(compiled, state, batch, WARM_UP)
    state, step_seconds = _run(compiled, state, batch, steps)
    directory.mkdir(parents=True, exist_ok=True)
    traced_seconds, spent, calls = _traced(compiled, state, batch, steps, directory / TRACE)
    device = jax.devices()[0]
    kind = f"{device.platform} ({device.device_kind})"
    if not spent:
        raise ValueError(f"profile_steps: the profiler tells no operations of {kind}.")
    known = instructions(compiled.as_text(), type(models.create(config.model)).__name__)
    costs = [
        Cost(name, known.get(name, UNKNOWN), calls[name] / steps, seconds / steps)
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1])
    ]
    rate = len(batch["label"]) / step_seconds
    return Profile(costs, step_seconds, traced_seconds, rate, kind, directory / TRACE)


def _training(config: TrainConfig) -> tuple[Any, Batch, Any]:
    """A fresh state with its totals, one batch, and the jitted step between."""
    dataset, fed = load_data(config)
    if not len(dataset.train):
        raise ValueError("profile_steps: needs training images, got none.")
    size = min(config.batch_size, len(dataset.train))
    (batch,) = islice(data.batches(dataset.train, size), 1)
    state = start_state(config, fed, optimizer_of(config, schedule_of(config, len(dataset.train))))
    counted = counted_step(make_prepare(fed), make_augment(config, len(fed.classes)), None)

    @partial(jax.jit, donate_argnums=0, compiler_options=compiler_options())
    def step(carry: tuple[State, Totals], batch: Batch) -> tuple[State, Totals]:
        return counted(*carry, batch)

    return (state, empty_totals()), batch, step


def _run(step: Callable[..., Any], state: Any, batch: Batch, steps: int) -> tuple[Any, float]:
    """The state after some steps, and the seconds that each took."""
    began = time.perf_counter()
    for i in range(steps):
        with jax.profiler.StepTraceAnnotation("step", step_num=i):
            state = step(state, batch)
    jax.block_until_ready(state)
    return state, (time.perf_counter() - began) / steps


def _traced(
    step: Callable[..., Any],
    state: Any,
    batch: Batch,
    steps: int,
    picture: Path,
) -> tuple[float, dict[str, float], Counter[str]]:
    """As `_run`, and what `read_trace` says of it; the trace for Perfetto goes to `picture`."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # Python's own calls would take longer than small steps
    with tempfile.TemporaryDirectory(dir=picture.parent, prefix=".trace-") as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True, profiler_options=options):
            _, seconds = _run(step, state, batch, steps)
        (space,) = Path(folder).rglob("*.xplane.pb")
        spent, calls = read_trace(space)
        (drawn,) = Path(folder).rglob(TRACE)
        drawn.replace(picture)
    return seconds, spent, calls


HEAD = re.compile(r"(?:ENTRY )?%?([\w.\-]+) \(.*{$")
LINE = re.compile(r"\s+(?:ROOT )?%?(\S+) = (?:\(.*?\)|\S+) ([a-z][\w\-]*)\(")
FIELDS = re.compile(r'(op_name|custom_call_target)="([^"]*)"|(calls)=%?([\w.\-]+)')


def instructions(program: str, model: str) -> dict[str, Instruction]:
    """The instructions of a compiled program's text by name.

    Args:
        program: of `compiled.as_text()`.
        model: the class's name, left out of the layers' paths.
    """
    inside: dict[str, list[tuple[str, str]]] = {}  # computation -> (opcode, op_name)s
    found: dict[str, tuple[str, dict[str, str]]] = {}
    body: list[tuple[str, str]] = []
    for line in program.splitlines():
        if head := HEAD.match(line):
            body = inside.setdefault(head[1], [])
        elif match := LINE.match(line):
            fields = {a or c: b or d for a, b, c, d in FIELDS.findall(line)}
            found[match[1]] = match[2], fields
            body.append((match[2], fields.get("op_name", "")))
    return {
        name: _instruction(opcode, fields, inside.get(fields.get("calls", ""), []), model)
        for name, (opcode, fields) in found.items()
    }


def _instruction(
    opcode: str, fields: Mapping[str, str], inside: list[tuple[str, str]], model: str
) -> Instruction:
    """What an instruction is by the costliest that is fused into it, if any."""
    paths = [path for _, path in inside if path]
    path = fields.get("op_name") or (paths[-1] if paths else "")
    kind = fields.get("custom_call_target", opcode).lstrip("_")
    costly = [(TELLING.index(o), p) for o, p in inside if opcode == "fusion" and o in TELLING]
    if costly:
        rank, its_path = min(costly)
        kind, path = f"{TELLING[rank]} fusion", its_path or path
    return Instruction(kind, layer_path(path, model), "transpose(jvp" in path)


def layer_path(op_name: str, model: str) -> str:
    """Where an operation stands in the model.

    Example:
        >>> layer_path("jit(step)/transpose(jvp(LeNet))/conv1/jit(f)/dot_general", "LeNet")
        'conv1/dot_general'
    """
    names = []
    for part in op_name.split("/"):
        if part.startswith("jit("):  # a function, not a layer
            continue
        name = part
        while match := re.fullmatch(r"\w+\((.*)\)", name):
            name = match[1]
        if name != model and re.fullmatch(r"[\w.\-]+", name):  # not the formulas of einsum
            names.append(name)
    return "/".join(names)
