"""What more devices cost: the exchange in the compiled program of one training step, for GPUs.

Nothing runs: each step is compiled for 1, 2, 4 and 8 devices from shapes alone, on simulated
devices, with the operations that GPUs get (`lowering.use("xla")`). From the compiled program come
the FLOPs of a device and the collectives, each with the bytes that a device gives. `synchronised`
is the default, batch norm over the whole batch; `per_device` normalises each device's part;
`sharded` cuts the optimizer's state, too. In `strong` scaling the whole batch stays 256 images, in
`weak` scaling a device's part 32. Then the seconds that these would take on H100s, by public
figures (below): rings for the bytes and NCCL's own formula for the latency of each collective,
beside the FLOPs at 40 % of the peak in bfloat16 with 256 images a GPU; the share of a step is that
of the exchange if none of it overlapped with computing.

Command:  python experiments/scaling.py
Hardware: 2 CPU cores (AMD EPYC), shared with other work, jax 0.10.2; any will do
Time:     12 min
Result:   (results/scaling.md, scaling_gpus.md)
          The work is divided evenly: ResNet-50 at 224 pixels takes 6130 GFLOP for 256 images on
          one device, 766 on each of eight, in strong and in weak scaling alike. What is exchanged
          does not grow with the devices or the batch: the gradients once, 102 MB in 2 all-reduces.
          Batch norm over the whole batch adds little to the bytes (0.1 MB), but 203 all-reduces,
          each waiting for the one before. So, if nothing overlapped, the exchange of ResNet-50 with
          256 images a GPU would take 2.6 % of a step on 8 H100s and 4.1 % on 64 hosts of 8 with
          batch norm per device (21 % if one adapter carried all), but 15 % and 50 % with it
          synchronised: latency, not bandwidth, is what scaling out costs, and batch norm per device
          is its cure. With 32 images a GPU it would be 18 % on 8 H100s. Cutting the optimizer's
          state adds a gather of each parameter (76 gathers, 102 MB: 19 % instead of 15 % on 8, at
          most: XLA's passes for GPUs merge gathers, those for the CPU that it compiled for here do
          not). LeNet is too small for more than one GPU.
"""

import dataclasses
import math
import re
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
import tyro
from recording import record, save_table

from jaxcnn import lowering, models
from jaxcnn.train import Layout, create_state, make_layout
from jaxcnn.train.epochs import counted_step, empty_totals
from jaxcnn.train.parallel import per_device, state_shardings, whole_gradients

Kind = Literal["synchronised", "per_device", "sharded"]
KINDS: tuple[Kind, ...] = ("synchronised", "per_device", "sharded")
DEVICES = (1, 2, 4, 8)
BATCH, PART = 256, 32  # images: of all devices in strong scaling, of each in weak scaling
COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
ARRAY = re.compile(r"\b[a-z]+(\d+)\w*\[([\d,]*)\]")  # its bits and axes

# NVIDIA H100 Tensor Core GPU datasheet, H100 SXM (bfloat16 with sparsity 1,979 TFLOP/s, dense half
# of it; NVLink 900 GB/s, both directions together): https://www.nvidia.com/en-us/data-center/h100/
PEAK = 989e12  # FLOP/s, bfloat16, dense
NVLINK = 450e9  # bytes/s of a GPU in one direction
# NVIDIA DGX H100 user guide: 8 ConnectX-7 of 400 Gb/s, one for each GPU:
# https://docs.nvidia.com/dgx/dgxh100-user-guide/introduction-to-dgxh100.html
NDR = 50e9  # bytes/s of a GPU's adapter in one direction
GPUS = 8  # of a host
# NCCL, src/graph/tuning.cc (baseLat and hwLat, trees, protocol LL), seconds:
# https://github.com/NVIDIA/nccl/blob/01afd20a77b5804e0ecf1042509dd9d20ebf9e93/src/graph/tuning.cc
START, HOP_NVLINK, HOP_NETWORK = 4.4e-6, 0.52e-6, 5.0e-6
SHARE = 0.4  # of the peak: assumed, and high for a CNN, so that the exchange weighs more here
ON_GPU = 256  # images of a GPU in a step


@dataclasses.dataclass(frozen=True)
class Config:
    """What to compile."""

    smoke: bool = False
    """LeNet on the devices at hand, nothing written."""


class Program(NamedTuple):
    """What one device does in a step."""

    flops: float
    counts: dict[str, int]  # kind of collective -> how many
    moved: dict[str, int]  # kind of collective -> bytes of the whole arrays


def shapes(name: str, layout: Layout, batch: int, kind: Kind) -> tuple[Any, Any, Any]:
    """A step's arguments as shapes on a mesh: state, totals, batch."""
    image = models.entry(name).input_shape

    def fresh(key: Any) -> Any:
        x = jax.ShapeDtypeStruct((1, *image), jnp.float32)
        return create_state(models.create(name), optax.sgd(0.1, 0.9), key, x)

    state = jax.eval_shape(fresh, jax.random.key(0))
    if kind == "per_device":
        state = state.replace(apply=per_device(state.apply, layout))
    if kind == "sharded":
        state = whole_gradients(state, layout)
    totals = jax.eval_shape(empty_totals)
    data = {
        "image": jax.ShapeDtypeStruct((batch, *image), jnp.uint8),
        "label": jax.ShapeDtypeStruct((batch,), jnp.int32),
    }

    def lying(tree: Any, shardings: Any) -> Any:
        return jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), tree, shardings
        )

    return (
        lying(state, state_shardings(state, layout)),
        lying(totals, jax.tree.map(lambda _: layout.replicated, totals)),
        lying(data, jax.tree.map(lambda _: layout.over_batch, data)),
    )


def scaled(x: Any) -> Any:
    """Pixels 0 to 255 as numbers 0 to 1."""
    return jnp.asarray(x, jnp.float32) / 255


def compiled(name: str, devices: int, batch: int, kind: Kind) -> Program:
    """The program of a training step, on each of a mesh's devices."""
    layout = make_layout(devices, shard_optimizer=kind == "sharded")
    step = jax.jit(counted_step(scaled, None, layout), donate_argnums=(0, 1))
    with lowering.use("xla"):
        program = step.lower(*shapes(name, layout, batch, kind)).compile()
    cost: Any = program.cost_analysis()
    counts: dict[str, int] = {}
    moved: dict[str, int] = {}
    for line in (program.as_text() or "").splitlines():
        if found := COLLECTIVE.search(line):
            of = found[2]
            counts[of] = counts.get(of, 0) + 1
            whole = devices if of == "reduce-scatter" else 1  # its result is a device's part
            moved[of] = moved.get(of, 0) + whole * size(found[1])
    return Program(float(cost["flops"]), counts, moved)


def size(text: str) -> int:
    """Bytes of the arrays that a line of a program's text names, such as f32[3,3,64]."""
    return sum(
        int(bits) // 8 * math.prod(int(n) for n in axes.split(",") if n)
        for bits, axes in ARRAY.findall(text)
    )


def row(program: Program) -> dict[str, float]:
    """A program as numbers for the table; bytes as MB."""
    numbers: dict[str, float] = {"GFLOP": round(program.flops / 1e9, 3)}
    for of in ("all-reduce", "all-gather"):
        numbers[f"{of}s"] = program.counts.get(of, 0)
        numbers[f"{of} MB"] = round(program.moved.get(of, 0) / 1e6, 3)
    others = program.counts.keys() - {"all-reduce", "all-gather"}
    numbers["others"] = sum(program.counts[of] for of in others)
    return numbers


def exchange(program: Program, hosts: int, across: float) -> float:
    """Seconds that a step's collectives take on so many hosts of 8 H100s, none overlapping.

    A ring over n devices passes 2 (n - 1) / n of the bytes of an all-reduce through each, and half
    of that of any other collective.

    Args:
        program: compiled for 8 devices: counts and bytes are the same for more.
        hosts: how many.
        across: bytes a second between two hosts on the ring.
    """
    n = hosts * GPUS
    bandwidth = NVLINK if hosts == 1 else min(NVLINK, across)
    hops = (GPUS - 1) * HOP_NVLINK + math.log2(hosts) * HOP_NETWORK
    seconds = 0.0
    for of, count in program.counts.items():
        passes = 2 if of == "all-reduce" else 1
        seconds += count * (START + passes * hops)
        seconds += passes * (n - 1) / n * program.moved[of] / bandwidth
    return seconds


def shares(program: Program, flops: float) -> dict[str, float]:
    """Milliseconds of computing and of the exchange, and its share of the step in percent."""
    computing = flops / (SHARE * PEAK)
    numbers = {"computing ms": round(1e3 * computing, 3)}
    places = {
        "8 GPUs": (1, NVLINK),
        "512 GPUs": (64, GPUS * NDR),  # eight rings, each through an adapter of its own
        "512 GPUs, one ring": (64, NDR),
    }
    for place, (hosts, across) in places.items():
        seconds = exchange(program, hosts, across)
        numbers[f"{place}, ms"] = round(1e3 * seconds, 3)
        numbers[f"{place}, %"] = round(100 * seconds / (seconds + computing), 1)
    return numbers


def main(config: Config) -> dict[str, Any]:
    """Compile all, print and record two tables."""
    programs: dict[str, dict[str, float]] = {}
    steps: dict[str, dict[str, float]] = {}
    most = min(len(jax.devices()), 2 if config.smoke else max(DEVICES))
    for name in ("lenet",) if config.smoke else ("lenet", "resnet18", "resnet50"):
        flops = 0.0
        for devices in [n for n in DEVICES if n <= most]:
            for kind in KINDS if devices > 1 else KINDS[:1]:
                program = compiled(name, devices, BATCH, kind)
                key = f"{name}, {devices}, strong, {kind}"
                programs[key] = row(program)
                print(key, programs[key], flush=True)
                if devices == 1:
                    flops = program.flops * ON_GPU / BATCH
                if devices == max(DEVICES):
                    steps[f"{name}, {kind}"] = shares(program, flops)
            if PART * devices != BATCH:
                weak = compiled(name, devices, PART * devices, "synchronised")
                programs[f"{name}, {devices}, weak, synchronised"] = row(weak)
    if not config.smoke:
        save_table("scaling", programs)
        save_table("scaling_gpus", steps)
    record("scaling", {"programs": programs, "on H100s": steps}, config.smoke)
    return {"programs": programs, "on H100s": steps}


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    main(tyro.cli(Config))
