import dataclasses
import gzip
import json
from collections import Counter

import pytest

from helpers import assert_close
from jaxcnn.train import TrainConfig
from jaxcnn.train.profiles import Instruction, instructions, layer_path, profile_steps

STEPS = 3


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    directory = tmp_path_factory.mktemp("profiles") / "lenet"
    return profile_steps(TrainConfig(model="lenet", out=directory), steps=STEPS)


def test_perfetto_opens_the_trace(found):
    with gzip.open(found.trace) as file:
        trace = json.load(file)
    names = {event.get("name") for event in trace["traceEvents"]}
    assert any(name and name.startswith(found.costs[0].name) for name in names)
    assert [path.name for path in found.trace.parent.iterdir()] == ["perfetto_trace.json.gz"]


def test_convolutions_and_products_are_among_the_costliest(found):
    heavy = ("convolution", "dot", "matmul")
    kinds = [cost.instruction.kind for cost in found.costs[:10]]
    assert any(word in kind for kind in kinds for word in heavy), kinds
    seconds = [cost.seconds for cost in found.costs]
    assert seconds == sorted(seconds, reverse=True)


def test_all_operations_together_take_no_longer_than_the_step(found):
    total = sum(cost.seconds for cost in found.costs)
    assert 0.1 * found.traced_seconds < total <= found.traced_seconds
    assert_close(found.images_per_second * found.step_seconds, 32)


def test_operations_are_found_in_the_program(found):
    """Each runs once a step, and nearly all of the time is of instructions that are known."""
    assert {cost.calls for cost in found.costs[:5]} == {1}
    known = sum(cost.seconds for cost in found.costs if cost.instruction.kind)
    assert known > 0.95 * sum(cost.seconds for cost in found.costs)
    layers = {cost.instruction.layer.split("/")[0] for cost in found.costs}
    assert {"conv1", "conv2", "pool1", "relu1", "dense1", "logits"} <= layers
    assert "LeNet" not in layers
    assert {cost.instruction.backward for cost in found.costs} == {True, False}


PROGRAM = """\
HloModule jit_step, is_scheduled=true

%fused (p0: f32[8,4], p1: f32[4,2]) -> f32[8,2] {
  %p0 = f32[8,4]{1,0} parameter(0)
  %p1 = f32[4,2]{1,0} parameter(1)
  %dot.1 = f32[8,2]{1,0} dot(%p0, %p1), metadata={op_name="jit(step)/jvp(Net)/fc/dot_general"}
  ROOT %max.1 = f32[8,2]{1,0} maximum(%dot.1, %c), metadata={op_name="jit(step)/jvp(Net)/relu/max"}
}

%copied (p: f32[8]) -> f32[8] {
  ROOT %c.1 = f32[8]{0} copy(%p), metadata={op_name="jit(step)/transpose(jvp(Net))/fc/transpose"}
}

ENTRY %main.5 (x: f32[8,4], w: f32[4,2]) -> (f32[8,2], f32[8]) {
  %x = f32[8,4]{1,0} parameter(0)
  %fusion.1 = f32[8,2]{1,0} fusion(%x, %w), kind=kCustom, calls=%fused, metadata={op_name="max"}
  %loop.1 = f32[8]{0} fusion(%x), kind=kLoop, calls=%copied
  %cudnn-conv.1 = (f32[8,2]{1,0:T(8,128)}, u8[0]{0}) custom-call(%x, /*index=1*/%w), \
custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/jvp(Net)/conv/conv"}
  ROOT %tuple = (f32[8,2]{1,0}, f32[8]{0}) tuple(%fusion.1, %loop.1)
}
"""


def test_instructions_of_a_program():
    known = instructions(PROGRAM, "Net")
    assert known["fusion.1"] == Instruction("dot fusion", "fc/dot_general", False)
    assert known["loop.1"] == Instruction("fusion", "fc/transpose", True)
    assert known["cudnn-conv.1"] == Instruction("cudnn$convForward", "conv/conv", False)
    assert known["tuple"] == Instruction("tuple", "", False)


@pytest.mark.parametrize(
    ("op_name", "path"),
    [
        ("jit(step)/jit(train_step)/jvp(LeNet)/relu1/jit(relu)/max", "relu1/max"),
        ("jit(f)/transpose(jvp(LeNet))/conv1/transpose()/conv_general_dilated",
         "conv1/conv_general_dilated"),
        ("jit(f)/jvp(jit(log_softmax))/exp", "log_softmax/exp"),
        ("jvp(LeNet)/fc/bij,bjk->bik/dot_general", "fc/dot_general"),
        ("", ""),
    ],
)  # fmt: skip
def test_layer_paths(op_name, path):
    assert layer_path(op_name, "LeNet") == path


def test_errors(found):
    config = TrainConfig(model="lenet", out=found.trace.parent)
    with pytest.raises(ValueError, match="profile_steps: .*lenet holds a trace already"):
        profile_steps(config)
    with pytest.raises(ValueError, match="profile_steps: steps must be at least 1, got 0"):
        profile_steps(config, steps=0)
    with pytest.raises(ValueError, match="lenot"):
        profile_steps(dataclasses.replace(config, model="lenot", out=None))


def test_a_device_that_tells_nothing(monkeypatch, tmp_path):
    """Said in words, not as an empty table."""
    monkeypatch.setattr("jaxcnn.train.profiles.read_trace", lambda path: ({}, Counter()))
    config = TrainConfig(model="tiny", out=tmp_path / "tiny", optimizer="lion", pad_crop=0)
    with pytest.raises(ValueError, match=r"the profiler tells no operations of cpu \(cpu\)"):
        profile_steps(config, steps=1)
