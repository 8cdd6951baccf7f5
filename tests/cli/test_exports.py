import json

import jax
import numpy as np
import pytest
import tyro
from jax import export

from helpers import assert_close
from jaxcnn import weights
from jaxcnn.cli import exports
from jaxcnn.train import load_run, predict
from jaxcnn.train.inputs import make_prepare

VERBS = {"export": exports.export, "profile": exports.profile}


def call(*arguments):
    return tyro.extras.subcommand_cli_from_dict(VERBS, args=[str(word) for word in arguments])


def test_export_writes_a_program(run, tmp_path, capsys):
    assert call("export", run, "--weights") == 0
    program, about, bare = (run / f"tiny.{end}" for end in ("stablehlo", "json", "safetensors"))
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in said] == [str(program), str(about), str(bare)]
    assert said[0].endswith(f": {program.stat().st_size:,} bytes")
    assert len(json.loads(about.read_text())["classes"]) == 10
    loaded = load_run(run)
    images = np.random.default_rng(0).integers(0, 256, (5, *loaded.input.shape), np.uint8)
    logits = export.deserialize(bytearray(program.read_bytes())).call(images)
    expected = predict(loaded.state, make_prepare(loaded.input)(images))
    assert_close(logits, expected)
    with pytest.raises(ValueError, match=r"tiny\.stablehlo is there already"):
        call("export", run)
    assert call("export", run, "--overwrite") == 0
    with pytest.raises(FileNotFoundError, match="no run in"):
        call("export", tmp_path)


def test_export_writes_weights_that_are_loaded_again(run, tmp_path):
    file = tmp_path / "own.safetensors"
    assert call("export", run, "--format", "safetensors", "--out", file) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["own.safetensors"]
    back = weights.load("tiny", file)
    jax.tree.map(np.testing.assert_array_equal, back, jax.device_get(load_run(run).variables))


def test_profile_prints_the_costliest_operations(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "profile"
    asked = ("--model", "tiny", "--steps", "2", "--batch-size", "16", "--top", "3", "--out", out)
    assert call("profile", *asked) == 0
    said = capsys.readouterr().out
    first, *rows = [line for line in said.splitlines() if line.strip()]
    assert first.startswith("tiny on digits, cpu (cpu): ")
    assert first.endswith(" images/s")
    for word in ("operation", "kind", "layer", "calls", "ms", "share"):
        assert word in rows[0]
    shares = [float(row.split()[-1].rstrip("%")) for row in rows if row.endswith("%  ")]
    assert len(shares) == 5  # three operations, the others, and what is between
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert said.rstrip().endswith(
        f"Trace, for https://ui.perfetto.dev: {out}/perfetto_trace.json.gz"
    )
    assert (out / "perfetto_trace.json.gz").exists()
    with pytest.raises(ValueError, match="profile: top must be at least 1, got 0"):
        call("profile", "--top", "0")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        call("profile", "--steps", "0")
