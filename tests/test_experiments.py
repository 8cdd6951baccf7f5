"""Every file in experiments/ that has a `main` runs two steps; and what these runs claim."""

import importlib.util
import io
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from helpers import assert_close
from jaxcnn import train

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
FILES = sorted(p for p in EXPERIMENTS.glob("*.py") if "\ndef main(" in p.read_text("utf-8"))


@pytest.fixture
def load(monkeypatch):
    """Import an experiment as `python experiments/NAME.py` does: its folder is on the path."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    monkeypatch.syspath_prepend(EXPERIMENTS)
    return load


def test_there_are_experiments():
    assert "smallest_networks" in [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_smoke(path, load):
    before = {p: p.read_bytes() for p in (EXPERIMENTS / "results").glob("*")}
    module = load(path.stem)
    for word in ("Command:", "Hardware:", "Time:", "Result:"):
        assert word in module.__doc__, f"the header of {path.name} lacks {word}"
    assert "TODO" not in module.__doc__, f"the header of {path.name} is unfinished"
    result = module.main(module.Config(smoke=True))
    assert result
    for value in jax.tree.leaves(result):
        assert isinstance(value, str | int | float), f"{value!r} is no plain number"
        assert isinstance(value, str) or math.isfinite(value)
    assert {p: p.read_bytes() for p in (EXPERIMENTS / "results").glob("*")} == before


@pytest.mark.slow
@pytest.mark.optimized  # what resuming promises
def test_twenty_kills(load):
    kills = load("kills")
    rows = kills.killed(kills.Config())
    assert len(rows) == 20
    assert {row["final weights"] for row in rows.values()} == {kills.SAME}


def test_results_belong_to_experiments():
    for path in (EXPERIMENTS / "results").glob("*.json"):
        entry = json.loads(path.read_text("utf-8"))
        assert entry["experiment"] == path.stem
        experiment, _, _ = path.stem.partition("-")  # then the label of a machine or version
        assert experiment in [file.stem for file in FILES]
        assert {"date", "jax", "platform", "device", "cores", "result"} <= entry.keys()


def test_record(load, monkeypatch, tmp_path, capsys):
    recording = load("recording")
    monkeypatch.setattr(recording, "RESULTS", tmp_path / "results")
    recording.record("some", {"loss": 0.123456789, "steps": 2, "net": "tiny"}, smoke=True)
    assert capsys.readouterr().out == "loss: 0.123457\nsteps: 2\nnet: tiny\n"
    assert not (tmp_path / "results").exists()
    recording.record("some", {"loss": 0.5}, smoke=False)
    entry = json.loads((tmp_path / "results" / "some.json").read_text("utf-8"))
    assert entry["result"] == {"loss": 0.5}
    assert entry["jax"] == jax.__version__
    with pytest.raises(ValueError, match="not JSON compliant"):
        recording.record("some", {"loss": math.nan}, smoke=False)
    recording.save_table("some", {"tiny": {"loss": 0.5, "steps": 2}, "small": {"loss": 1}})
    lines = (tmp_path / "results" / "some.md").read_text("utf-8").splitlines()
    assert lines[0] == "|  | loss | steps |"
    assert lines[2:] == ["| tiny | 0.5 | 2 |", "| small | 1 |  |"]


def test_torch_peer_serves(load, monkeypatch):
    load("timing")
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch.nn.functional", SimpleNamespace())
    peer = load("torch_peer")
    called = []
    monkeypatch.setitem(peer.MAKERS, "pool", lambda size: {"forward": lambda: called.append(size)})
    requests = [["make", "pool", {"size": 3}], ["run", 0, "forward"], ["forget"]]
    answers = io.StringIO()
    peer.serve(io.StringIO("".join(json.dumps(r) + "\n" for r in requests)), answers)
    ready, made, seconds, end = map(json.loads, answers.getvalue().splitlines())
    assert (ready, made, end) == (None, [0, ["forward"]], None)
    assert seconds > 0
    assert called == [3]


def test_peer_without_torch(load, monkeypatch, tmp_path):
    timing = load("timing")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('none here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"Peer: .*torch_peer.py` has ended"):
        timing.Peer(sys.executable)


def test_smallest_networks(load):
    networks = load("smallest_networks")
    result = networks.perceptron(steps=100)
    assert_close(result["perceptron_w"], 117.8 / 117.25)
    assert_close(result["perceptron_least_squares_w"], 117.8 / 117.25)
    result = networks.patterns(jax.random.key(0), steps=100)
    assert_close(result["patterns_first_loss"], math.log(3))
    assert result["patterns_test_accuracy"] > 0.99
    result = networks.two_layer(jax.random.key(0), steps=50)
    assert result["two_layer_worst_gradient_difference"] <= 1e-5
    assert result["two_layer_loss"] < 0.5 * result["two_layer_first_loss"]


def test_imagenet_photos_finds_packages_without_importing_them(load, monkeypatch, tmp_path):
    photos = load("imagenet_photos")
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    assert photos.inside("some-package==1.0", "data") == tmp_path / "some_package" / "data"
    with pytest.raises(SystemExit, match="absent is not installed: pip install .* absent==1.0"):
        photos.inside("absent==1.0", "data")
    with pytest.raises(SystemExit, match="no photos imagenet_NUMBER_LABEL.jpg in"):
        photos.main(photos.Config(photos=tmp_path))


def test_imagenet_photos_counts(load, monkeypatch):
    photos = load("imagenet_photos")
    guesses = [[train.Guess(3, "tiger shark", 0.5)], [train.Guess(4, "hammerhead", 0.25)]]
    monkeypatch.setattr(photos, "predict_pretrained", lambda *args, top: guesses)
    files = [Path("imagenet_00_3.jpg"), Path("imagenet_01_5.jpg")]
    found = photos.classify("net", Path("weights"), files)
    assert (found["net_right"], found["net_photos"], found["net_top1"]) == (1, 2, 0.5)
    assert found["net"] == {
        "imagenet_00_3.jpg": "tiger shark (50.0 %), right",
        "imagenet_01_5.jpg": "hammerhead (25.0 %), wrong, it is electric ray",
    }
