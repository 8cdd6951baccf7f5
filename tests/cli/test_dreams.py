import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from PIL import Image

from jaxcnn import models
from jaxcnn.cli.dreams import dream
from jaxcnn.weights import save_safetensors


def run(*arguments):
    return tyro.cli(dream, args=[str(a) for a in arguments])


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.usefixtures("two_fires")
def test_a_model_by_name(photo, tmp_path, capsys):
    model = models.create("squeezenet1_1", num_classes=4)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 64, 64, 3)))
    variables = jax.tree.map(lambda a: np.full(a.shape, 0.1, a.dtype), shapes)
    save_safetensors(tmp_path / "weights.safetensors", variables)
    out = tmp_path / "out.png"
    options = ("--octaves", 1, "--steps", 2, "--layer", "features/0", "--out", out)
    weights = ("--model", "squeezenet1_1", "--weights", tmp_path / "weights.safetensors")
    assert run(photo, *weights, *options) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("40x48: mean square of features/0 ")
    assert printed.endswith(f" s\nPicture: {out}\n")
    with Image.open(out) as image, Image.open(photo) as before:
        assert image.size == before.size
        assert (np.asarray(image) != np.asarray(before)).any()


def test_a_run(trained, photo, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert run(trained[0], photo, "--octaves", "2", "--steps", 2, "--out", out) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[:2]] == ["29x34", "40x48"]
    with Image.open(out) as image:
        assert (image.mode, image.size) == ("L", (48, 40))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "--model", "tiny"), "dream: --model and --weights go together, got tiny alone"),
        (("a.png",), "dream: needs a run and one photo, got 1 paths"),
        (("a", "b", "--model", "tiny", "--weights", "c"), "dream: needs one photo, got 2 paths"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(*arguments)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="dream: there is no directory"):
        run("run", "a.png", "--out", tmp_path / "none" / "out.png")
