"""Two processes on this machine, as two hosts would train together."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import assert_close
from jaxcnn.cli import main
from jaxcnn.train.checkpoints import steps_on_disk

ROOT = Path(__file__).parents[2]
OPTIONS = (
    *("--data", "synthetic", "--image-size", "4", "--model", "tiny", "--batch-size", "64"),
    *("--optimizer", "momentum", "--schedule", "constant", "--learning-rate", "0.1"),
)
QUIET = ("--optimizer", "sgd", "--pad-crop", "0", "--batch-size", "360")  # one step an epoch
UNPICTURED = """
from jaxcnn import cli, plots
plots.save = lambda figure, path: path
cli.main()
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(directory, *options, processes=2):
    """`jaxcnn train` in several processes of one device each."""
    port = free_port()
    place = ("--out", str(directory), *OPTIONS)
    command = [sys.executable, "-c", UNPICTURED, "train", *place, *options]
    pipe = subprocess.PIPE
    return [
        subprocess.Popen(
            [*command, *together(port, processes, i)],
            stdout=pipe,
            stderr=pipe,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"},
            cwd=ROOT,
        )
        for i in range(processes)
    ]


def together(port, processes, i):
    numbers = ["--num-processes", str(processes), "--process-id", str(i)]
    return ["--coordinator", f"127.0.0.1:{port}", *numbers]


def ended(processes):
    """What each said, on both of its channels."""
    said = [process.communicate(timeout=240) for process in processes]
    for process, (_, complaint) in zip(processes, said, strict=True):
        assert process.returncode == 0, complaint[-2000:]
    return said


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def losses(directory):
    return [row["train_loss"] for row in rows(directory)]


def alone(*arguments):
    """`jaxcnn train` in this process."""
    with pytest.raises(SystemExit) as done:
        main(["train", *arguments])
    assert done.value.code == 0


@pytest.mark.usefixtures("unpictured")
def test_two_processes_get_the_losses_of_one_and_one_goes_on(tmp_path):
    """One epoch by two processes, the second by one: streamed, each reads its share."""
    directory = tmp_path / "run"
    said = ended(start(directory, "--epochs", "2", "--stream"))
    assert "on 2 devices of 2 processes" in said[0][0]
    others = [line for line in said[1][0].splitlines() if not line.startswith("[Gloo]")]
    assert not others  # the first one speaks for all
    alone(*OPTIONS, "--epochs", "2", "--out", str(tmp_path / "one"))
    assert_close(losses(directory), losses(tmp_path / "one"), "float32 sums")
    whole = losses(directory)
    last = max((directory / "checkpoints").iterdir(), key=lambda path: int(path.name))
    last.rename(tmp_path / "elsewhere")  # as if killed before it was written
    alone("--resume", str(directory), "--epochs", "2")
    assert_close(losses(directory), whole, "float32 sums")


@pytest.mark.parametrize("victim", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_process_ends_the_other_in_words(tmp_path, victim):
    directory = tmp_path / "run"
    processes = start(directory, "--epochs", "100000", *QUIET)
    until = time.monotonic() + 120
    while not steps_on_disk(directory) and time.monotonic() < until:
        time.sleep(0.05)
    processes[victim].send_signal(signal.SIGKILL)
    began = time.monotonic()
    other = processes[1 - victim]
    _, complaint = other.communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert other.returncode != 0
    assert re.search(r"lost another one|another task died", complaint), complaint[-2000:]
    processes[victim].communicate()
    assert steps_on_disk(directory)
