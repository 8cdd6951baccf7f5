import pytest

from jaxcnn import reports
from jaxcnn.cli import inspections, main
from jaxcnn.reports import subjects


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *arguments])
    return ended.value.code or 0


def test_where_the_page_goes(monkeypatch, tmp_path, capsys):
    asked = []

    def subject(source, paths, *, weights_source):
        asked.append((source, [path.name for path in paths], weights_source))
        run = tmp_path if source == str(tmp_path) else None
        fields = dict.fromkeys(subjects.Subject._fields)
        return subjects.Subject(**{**fields, "run": run})

    def write_report(about, directory, *, say):
        say("Filters")
        return directory / "report.html"

    monkeypatch.setattr(inspections, "subject", subject)
    monkeypatch.setattr(inspections, "write_report", write_report)
    assert call("lenet", "--weights", "own.pth", "a.png", "b.png") == 0
    assert capsys.readouterr().out == "Filters\nReport: inspect-lenet/report.html\n"
    assert call(str(tmp_path)) == 0
    assert f"Report: {tmp_path}/inspect/report.html" in capsys.readouterr().out
    assert call("lenet", "a.png", "--out", "there") == 0
    assert asked == [
        ("lenet", ["a.png", "b.png"], "own.pth"),
        (str(tmp_path), [], None),
        ("lenet", ["a.png"], None),
    ]


def test_errors_are_sentences(capsys):
    assert call() == 2
    assert "inspect: needs a run directory or a model's name" in capsys.readouterr().err
    assert call("lenet") == 2
    assert "inspect: a model by name needs image files, got none for lenet." in (
        capsys.readouterr().err
    )


def test_the_room_exports_what_the_verb_calls():
    assert inspections.write_report is reports.write_report
