import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from jaxcnn.cli import main

FORMULA = "ln(x1) + x1*x2 - sin(x2)"


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(["trace", *arguments])
    return caught.value.code


def test_trace_prints_the_textbooks_tables(capsys):
    assert run(FORMULA, "x1=2", "x2=5") in (0, None)
    printed = capsys.readouterr().out
    for cell in ("v₃", "sin(v₀)", "-0.959", "10.693", "11.652", "5.5", "1.716"):
        assert cell in printed


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("text", "Forward evaluation trace\n  v₋₁  = x1"),
        ("markdown", "**Forward evaluation trace**"),
        ("latex", r"\textbf{Forward evaluation trace}"),
        ("html", "<div"),
    ],
)
def test_formats(form, start, capsys):
    run(FORMULA, "x1=2", "x2=5", "--format", form)
    assert capsys.readouterr().out.startswith(start)


def test_options(capsys, tmp_path):
    path = tmp_path / "graph.svg"
    matrices = ("sum((W @ x)^2)", "W=[[0.1, 0.5], [-0.3, 0.8]]", "x=[0.2, 0.4]")
    options = ("--wrt", "W[0,1]", "--modes", "forward", "--digits", "5", "--order", "program")
    run(*matrices, *options, "--format", "text", "--graph", str(path))
    printed = capsys.readouterr().out
    assert "ẏ    = v̇₃" in printed
    assert "= 0.176\n" in printed
    assert "Reverse" not in printed
    assert printed.endswith(f"Graph: {path}\n")
    assert "sum" in "".join(ET.parse(path).getroot().itertext())


def test_the_readmes_picture_is_what_the_command_draws(tmp_path):
    committed = Path(__file__).parents[2] / "experiments" / "results" / "textbook_graph.svg"
    run(FORMULA, "x1=2", "x2=5", "--graph", str(tmp_path / "graph.svg"))
    assert (tmp_path / "graph.svg").read_text("utf-8") == committed.read_text("utf-8")


def test_model(capsys, tmp_path):
    path = tmp_path / "tiny.svg"
    assert run("--model", "tiny", "--format", "text", "--graph", str(path)) in (0, None)
    assert "params/conv/bias" in capsys.readouterr().out
    assert "conv" in "".join(ET.parse(path).getroot().itertext())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ln(x1", "x1=2"), 'jaxcnn: formula: expected ")" at position 6, got the end:\n  ln(x1\n'),
        ((), "trace: takes a FORMULA or --model NAME, got neither"),
        (("x1", "x1=1", "--model", "tiny"), "trace: takes a FORMULA or --model NAME, got both"),
        (("--model", "lenot"), "'lenot'"),
        (("x1", "x1"), "trace: values are NAME=VALUE, got 'x1'"),
        (("x1", "x1=2", "x1=3"), "trace: x1 is given twice"),
        (("x1 + x2", "x1=2"), "no variable 'x2' at position 6; known are x1, pi"),
        (("x1", "x1=two"), "no variable 'two' at position 1"),
        (("x1", "x1=2", "--wrt", "y"), "trace: no input 'y'; inputs are x1."),
        (("x1", "x1=2", "--graph", "g.png"), "ends in .svg or .dot"),
    ],
)
def test_errors(arguments, message, capsys):
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
