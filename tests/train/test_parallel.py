import json
import math
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from helpers import assert_close
from jaxcnn.train import make_layout
from jaxcnn.train.parallel import join, parse_mesh, place

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def eight():
    """What eight simulated devices make of a small network."""
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("eight_devices.py"))],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8
    return found


def numbers(shapes):
    """How many are in all of them, of shapes as XLA writes them."""
    sizes = [shape[shape.index("[") + 1 : -1] for shape in shapes]
    return sum(math.prod(int(n) for n in size.split(",") if n) for size in sizes)


@pytest.mark.parametrize("how", ["eight", "sharded"])
def test_the_losses_of_one_device(eight, how):
    """50 steps with synchronised batch norm, dropout and augmentation."""
    assert len(eight["one"]) == 5
    assert_close(eight[how], eight["one"], "float32")
    assert eight["one"][-1] < 0.8 * eight["one"][0]


def test_one_set_of_all_reduces_for_the_gradients(eight):
    """And the loss's few numbers; nothing is gathered."""
    ((kind, shapes),) = eight["collectives"]["plain"]
    assert kind == "all-reduce"
    assert 0 <= numbers(shapes) - eight["plain_parameters"] <= 8


@pytest.mark.parametrize(("how", "norms"), [("synchronised", 4), ("per_device", 0)])
def test_batch_norm_s_all_reduces(eight, how, norms):
    """Synchronised, four vectors for the layer; per device, none."""
    found = eight["collectives"][how]
    assert {kind for kind, _ in found} == {"all-reduce"}
    vectors = [shapes for _, shapes in found if shapes == ["f32[8]"]]
    assert len(vectors) == norms
    assert len(found) == norms + 1
    assert numbers(found[-1][1]) >= eight["parameters"] - 2 * 8


def test_a_sharded_optimizer_gathers_each_cut_parameter_once(eight):
    found = eight["collectives"]["sharded"]
    gathered = [shapes for kind, shapes in found if kind == "all-gather"]
    assert gathered == [["f32[128,32]"]]
    assert eight["shares"] == [1 / 8]


def test_mesh_as_the_command_line_writes_it():
    assert parse_mesh("data=3") == 3
    for text in ("model=2", "data", "data=0", "data=x"):
        with pytest.raises(ValueError, match="write data=N"):
            parse_mesh(text)


def test_layout_of_more_devices_than_there_are():
    with pytest.raises(ValueError, match="found 1 device.* got a mesh of 9"):
        make_layout(9)


def test_place_copies():
    a = jnp.ones(3)
    b = place(a, make_layout(1).replicated)
    assert a.unsafe_buffer_pointer() != b.unsafe_buffer_pointer()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("host:1", 2, None), "needs coordinator"),
        (("auto", 2, 0), "'auto' alone"),
        ((None, 2, 0), "needs coordinator"),
        (("host:1", 2, 2), r"must lie in 0..1, got 2"),
    ],
)
def test_join_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        join(*arguments)


def test_join_nobody():
    join()
    assert jax.process_count() == 1
