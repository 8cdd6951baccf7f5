import io
import shutil
from contextlib import redirect_stdout

import pytest


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The directory of a run of one epoch, only to be read, and what `train` said of it."""
    from jaxcnn.cli import main  # not above: shapes are checked in what is imported later

    directory = tmp_path_factory.mktemp("cli") / "run"
    with redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit) as ended:
        main(["train", "--model", "tiny", "--epochs", "1", "--out", str(directory)])
    assert not ended.value.code
    return directory, said.getvalue()


@pytest.fixture
def run(trained, tmp_path_factory):
    """A copy of that run."""
    return shutil.copytree(trained[0], tmp_path_factory.mktemp("copy") / "run")


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    """Tables are shortened to the terminal's width; here it is the same for everyone."""
    monkeypatch.setenv("COLUMNS", "80")
