import json
import os
import pty
import re
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcnn import models, weights
from jaxcnn.cli import main, verbs
from jaxcnn.data import load
from jaxcnn.train import Guess, load_run


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code or 0


def test_train_ends_with_the_pictures(trained):
    directory, said = trained
    assert "epoch   1/1" in said
    assert "Test accuracy" in said
    assert said.rstrip().endswith("filters.png")
    assert str(directory / "curves.png") in said


@pytest.mark.usefixtures("unpictured")
def test_resume(run, capsys):
    assert call("train", "--resume", str(run), "--epochs", "2") == 0
    assert "epoch   2/2" in capsys.readouterr().out
    assert call("train", f"--resume={run}", "--model", "lenet") == 2
    assert "cannot resume" in capsys.readouterr().err


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, two_fires):
    """Weights of five classes for a model of the zoo."""
    path = tmp_path_factory.mktemp("cli") / "own.safetensors"
    model = models.create("squeezenet1_1", num_classes=5)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    rng = np.random.default_rng(0)
    drawn = jax.tree.map(lambda a: rng.normal(0, 0.2, a.shape).astype(np.float32), shapes)
    weights.save_safetensors(path, drawn)
    return path


@pytest.mark.usefixtures("unpictured")
@pytest.mark.filterwarnings("default")  # as Python has it: what is said of it is ours
def test_fine_tuning(checkpoint, tmp_path, capsys):
    directory = tmp_path / "run"
    arguments = ["--model", "squeezenet1_1", "--weights", str(checkpoint), "--image-size", "32"]
    arguments += ["--data", "synthetic", "--epochs", "1", "--out", str(directory)]
    arguments += ["--optimizer", "sgd", "--batch-size", "128"]
    assert call("train", *arguments, "--freeze", "features/*", "--multipliers", "*bias", "2") == 0
    said = capsys.readouterr().err
    assert "jaxcnn: from_torch: the state is not of " in said
    assert "UserWarning" not in said
    start = weights.load_safetensors(checkpoint)["params"]["features"]
    trained = load_run(directory).state.params["features"]
    jax.tree.map(np.testing.assert_array_equal, start, trained)
    fed = json.loads((directory / "config.json").read_text())["input"]
    assert fed["shape"] == [32, 32, 3]
    assert fed["mean"] == [0.485, 0.456, 0.406]  # of the published weights


def test_features(checkpoint, tmp_path, capsys):
    picture, out = tmp_path / "a.png", tmp_path / "found.npz"
    Image.new("RGB", (30, 40), "red").save(picture)
    source = ("--model", "squeezenet1_1", "--weights", str(checkpoint), "--out", str(out))
    assert call("features", *source, str(picture)) == 0
    assert "features: 1x32" in capsys.readouterr().out
    with np.load(out) as found:
        assert found["features"].shape == (1, 32)
        assert found["images"].tolist() == [str(picture)]
    assert call("features", *source) == 2
    assert "features: takes image files or --data NAME" in capsys.readouterr().err
    assert call("features", *source, str(picture), "--data", "digits") == 2
    assert call("features", *source, str(picture), "--layer", "nowhere") == 2
    assert "has no layer 'nowhere'" in capsys.readouterr().err


def test_evaluate(run, capsys):
    assert call("evaluate", str(run)) == 0
    assert "on 359 images" in capsys.readouterr().out
    assert call("evaluate", str(run), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"test_accuracy", "test_loss"}


def test_predict(run, tmp_path, capsys):
    picture = tmp_path / "digit.png"
    Image.fromarray(load("digits").test.images[0, :, :, 0]).save(picture)
    assert call("predict", str(run), str(picture), str(picture), "--top", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0] == str(picture)
    assert lines[1].strip().split()[1] == "%"
    assert call("predict", str(run), str(picture), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["image"] == str(picture)
    assert set(found["top"][0]) == {"index", "name", "probability"}
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    assert call("predict", str(run), str(broken)) == 2
    assert "broken.png" in capsys.readouterr().err
    assert call("predict", str(run)) == 2


def test_predict_with_weights(monkeypatch, capsys):
    """What the room finds is printed; what it was asked is what the command line says."""
    asked = []

    def found(name, source, paths, *, top):
        asked.append((name, source, [str(path) for path in paths], top))
        return [[Guess(285, "Egyptian cat", 0.75), Guess(282, "tiger cat", 0.125)] for _ in paths]

    monkeypatch.setattr(verbs, "predict_pretrained", found)
    options = ["--model", "mobilenet_v2", "--weights", "hub:a/b"]
    assert call("predict", *options, "cat.png", "dog.png", "--top", "2") == 0
    text = "   75.00 %  Egyptian cat\n   12.50 %  tiger cat\n"
    assert capsys.readouterr().out == f"cat.png\n{text}dog.png\n{text}"
    assert call("predict", "cat.png", "dog.png", *options, "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "image": image,
            "top": [
                {"index": 285, "name": "Egyptian cat", "probability": 0.75},
                {"index": 282, "name": "tiger cat", "probability": 0.125},
            ],
        }
        for image in ("cat.png", "dog.png")
    ]
    images = ["cat.png", "dog.png"]
    assert asked == [("mobilenet_v2", "hub:a/b", images, top) for top in (2, 5)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs at least one image file, got none"),
        (["--model", "alexnet", "--weights", "a.pth"], "needs at least one image file, got none"),
        (["--model", "alexnet", "a.png"], "--model and --weights go together, got alexnet alone"),
        (["--weights", "a.pth", "a.png"], "--model and --weights go together, got a.pth alone"),
        (["--model", "alexnet", "--weights", "a.pth", ".", "a.png"], "takes a run or a model, got"),
        (["--model", "alexnet", "--weights", "absent.pth", "a.png"], "absent.pth"),
        (["--model", "alexnett", "--weights", "a.pth", "a.png"], "did you mean 'alexnet'?"),
        (["--model", "lenet", "--weights", "a.pth", "a.png"], "no weights of lenet are published"),
        (["a.png", "b.png"], "no run in a.png"),
    ],
)
def test_predict_says_what_is_wrong(arguments, message, capsys):
    assert call("predict", *arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("jaxcnn: ")


def test_a_missing_extra_has_no_traceback(monkeypatch, capsys):
    def missing(*arguments, **options):
        raise ImportError("this takes the extra `hub`")

    monkeypatch.setattr(verbs, "predict_pretrained", missing)
    assert call("predict", "--model", "alexnet", "--weights", "hub:a/b", "a.png") == 2
    assert capsys.readouterr().err == "jaxcnn: this takes the extra `hub`\n"


def test_models(capsys):
    assert call("models") == 0
    said = capsys.readouterr().out
    assert all(f" {name} " in said for name in models.names())  # none cut short in 80 columns
    assert call("models", "resnet[15]*", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows][:2] == ["resnet18", "resnet50"]
    assert rows[1] == {
        "name": "resnet50",
        "input_shape": [224, 224, 3],
        "parameters": 25_557_032,
        "multiply_adds": 4_089_184_256,
        "weights": [
            {
                "tag": "IMAGENET1K_V2",
                "url": "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
                "top1": 80.858,
            },
            {
                "tag": "IMAGENET1K_V1",
                "url": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
                "top1": 76.13,
            },
        ],
    }
    assert call("models", "resnet50") == 0
    row = capsys.readouterr().out.splitlines()[-2].split()
    assert row == ["resnet50", "224x224x3", "25,557,032", "4,089.2", "80.86", "V2", "V1"]
    assert call("models", "lenet") == 0
    assert capsys.readouterr().out.splitlines()[-2].split() == ["lenet", "28x28x1", "61,706", "0.4"]
    assert call("models", "nothing*") == 2
    assert "models: no model's name matches 'nothing*'" in capsys.readouterr().err


def test_summary(capsys):
    assert call("summary", "lenet") == 0
    said = capsys.readouterr().out
    assert "61,706" in said
    assert "416,520" in said
    assert "14x14" in said
    assert (
        call("summary", "mlp", "--input-shape", "2", "2", "1", "--model-options", "widths", "[3]")
        == 0
    )
    assert f"{4 * 3 + 3 + 3 * 10 + 10}" in capsys.readouterr().out


def test_doctor(capsys):
    assert call("doctor") == 0
    said = capsys.readouterr().out
    for word in ("jaxlib", "orbax-checkpoint", "cpu", "preallocation", "fashion-mnist", "digits"):
        assert word in said


def test_typos_get_a_suggestion(capsys):
    assert call("trian") == 2
    assert "did you mean 'train'?" in capsys.readouterr().err
    assert call("train", "--model", "lenett") == 2
    assert "did you mean 'lenet'?" in capsys.readouterr().err
    assert call("train", "--epoch", "3") == 2
    assert "--epochs" in capsys.readouterr().err
    assert call("train", "--data", "mnst") == 2
    assert "mnist" in capsys.readouterr().err


def test_wrong_input_has_no_traceback(tmp_path, capsys):
    assert call("evaluate", str(tmp_path / "nothing")) == 2
    assert capsys.readouterr().err.startswith("jaxcnn: no run in")
    assert call("train", "--resume", str(tmp_path / "nothing")) == 2
    assert "no config.json" in capsys.readouterr().err


def test_divergence_exits_with_1(tmp_path, capsys):
    arguments = ["--model", "mlp", "--optimizer", "sgd", "--learning-rate", "1e30"]
    assert call("train", *arguments, "--epochs", "1", "--out", str(tmp_path / "run")) == 1
    said = capsys.readouterr().out
    assert "Diverged" in said
    assert "checkpoint" not in said  # there was no good one


def test_impossible_options_end_before_anything_is_written(tmp_path, capsys):
    assert call("train", "--epochs", "0", "--out", str(tmp_path / "run")) == 2
    assert "epochs must be at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("unpictured")
def test_a_terminal_gets_a_bar_and_ctrl_c_ends_with_a_checkpoint(tmp_path):
    """A real process, a real signal: exit code 130, and the run can be resumed."""
    directory = tmp_path / "run"
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "jaxcnn.cli", "train", "--model", "tiny", "--epochs", "9999"]
    cheap = ["--optimizer", "sgd", "--pad-crop", "0", "--schedule", "constant"]
    process = subprocess.Popen(
        [*command, *cheap, "--data", "synthetic", "--image-size", "8", "--out", str(directory)],
        stdout=end,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(end)
    said = ""

    def read_until(pattern):
        nonlocal said
        while not re.search(pattern, said):
            said += os.read(terminal, 10_000).decode()  # an error once the process has ended

    read_until(r"epoch   2/")
    read_until(r"accuracy [^\r]* images/s [^\r]*\d+/\d+[^\r]*\d:\d\d:\d\d")  # the time left
    process.send_signal(signal.SIGINT)
    read_until(f"Go on with: jaxcnn train --resume {re.escape(str(directory))}\\s")
    read_until("Pictures: .*\n")
    assert process.wait(60) == 130
    os.close(terminal)
    done = json.loads((directory / "summary.json").read_text())
    assert done["status"] == "interrupted"
    assert call("train", "--resume", str(directory), "--epochs", str(done["epochs"] + 1)) == 0


def test_import_is_lazy():
    """`import jaxcnn` loads no room, and nothing that is not Python's own."""
    code = (
        "import sys; before = set(sys.modules); import jaxcnn; "
        "new = {m.split('.')[0] for m in set(sys.modules) - before}; "
        "print(sorted(new - sys.stdlib_module_names), "
        "[m for m in sys.modules if m.startswith('jaxcnn.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['jaxcnn'] []"


def test_doctor_says_what_is_wrong_with_a_backend():
    command = [sys.executable, "-m", "jaxcnn.cli", "doctor"]
    broken = {**os.environ, "JAX_PLATFORMS": "nothing"}
    found = subprocess.run(command, capture_output=True, text=True, env=broken, check=False)
    assert found.returncode == 1
    assert "JAX_PLATFORMS=nothing" in found.stdout
    assert "Traceback" not in found.stderr
