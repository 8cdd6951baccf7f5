import json
import os
import pty
import re
import subprocess
import sys

import pytest
from PIL import Image

from jaxcnn.cli import main
from jaxcnn.data import load


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code or 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cli") / "run"
    code = call("train", "--model", "tiny", "--epochs", "1", "--out", str(directory))
    assert code == 0
    return directory


def test_train_ends_with_the_pictures(tmp_path, capsys):
    directory = tmp_path / "run"
    assert call("train", "--model", "tiny", "--epochs", "1", "--out", str(directory)) == 0
    said = capsys.readouterr().out
    assert "epoch   1/1" in said
    assert "Test accuracy" in said
    assert said.rstrip().endswith("filters.png")
    assert str(directory / "curves.png") in said


def test_resume(run, capsys):
    assert call("train", "--resume", str(run), "--epochs", "2") == 0
    assert "epoch   2/2" in capsys.readouterr().out
    assert call("train", f"--resume={run}", "--model", "lenet") == 2
    assert "cannot resume" in capsys.readouterr().err


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


def test_ctrl_c_ends_with_a_checkpoint(tmp_path):
    """A real process, a real signal: exit code 130, and the run can be resumed."""
    directory = tmp_path / "run"
    command = [sys.executable, "-m", "jaxcnn.cli", "train", "--model", "tiny", "--epochs", "5000"]
    process = subprocess.Popen(
        [*command, "--out", str(directory)], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("epoch   2/"):
            process.send_signal(2)
            break
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Go on with: jaxcnn train --resume {directory}" in rest
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


def test_a_terminal_gets_a_bar_with_the_time_left(tmp_path):
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "jaxcnn.cli", "train", "--model", "tiny"]
    process = subprocess.Popen(
        [*command, "--epochs", "300", "--out", str(tmp_path / "run")],
        stdout=end,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(end)
    said = ""
    while not re.search(r"accuracy .* images/s .*\d+/\d+ .*\d:\d\d:\d\d", said):
        said += os.read(terminal, 10_000).decode()  # an error once the process has ended
    process.kill()
    process.wait()
    os.close(terminal)
