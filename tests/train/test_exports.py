import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import assert_close
from jaxcnn import models, weights
from jaxcnn.train import TrainConfig, create_state, predict
from jaxcnn.train.exports import export_program, export_weights, exported
from jaxcnn.train.inputs import Input, make_prepare
from jaxcnn.train.runs import Run
from jaxcnn.weights.safetensors_files import read_safetensors

CLASSES = ("cat", "dog", "hen")
# What someone has who has jax and no jaxcnn.
STRANGER = """
import sys
sys.modules.update(jaxcnn=None, flax=None, optax=None)
import numpy as np
from jax import export

for name in sys.argv[1:]:
    with open(f"{name}.stablehlo", "rb") as file:
        program = export.deserialize(bytearray(file.read()))
    with np.load(f"{name}-pixels.npz") as batches:
        logits = {batch: program.call(batches[batch]) for batch in batches}
    np.savez(f"{name}-logits.npz", **logits)
"""


def make_run(name, size, channels=3, dtype="float32", **options):
    """A run that was never trained, its variables drawn at random (without compiling `init`)."""
    fed = Input((size, size, channels), (0.4,) * channels, (0.3,) * channels, CLASSES)
    model = models.create(name, num_classes=3, dtype=dtype, **options)
    x = jax.ShapeDtypeStruct((1, *fed.shape), jnp.float32)
    rng = np.random.default_rng(0)

    def draw(v):
        """Kernels of either sign; positive vectors, variances among them."""
        drawn = rng.normal(0, 0.2, v.shape) if v.ndim > 1 else rng.uniform(0.1, 1, v.shape)
        return drawn.astype(np.float32)

    variables = jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0), x))
    state = create_state(model, optax.identity(), jax.random.key(0), x, variables=variables)
    named = {k: json.dumps(v) for k, v in options.items()}
    return Run(TrainConfig(model=name, dtype=dtype, model_options=named), fed, model, state)


def pixels(run, b):
    return np.random.default_rng(b).integers(0, 256, (b, *run.input.shape), np.uint8)


def expected(run, images):
    return predict(run.state, make_prepare(run.input)(images))


@pytest.fixture(scope="module")
def lenet():
    return make_run("lenet", 12, 1)


def test_someone_without_jaxcnn_gets_the_same_logits(tmp_path):
    runs = {"lenet": make_run("lenet", 12), "resnet20": make_run("resnet20", 8, depth=1)}
    for name, run in runs.items():
        path = tmp_path / f"{name}.stablehlo"
        assert export_program(run, path) == (path, tmp_path / f"{name}.json")
        batches = {f"of_{b}": pixels(run, b) for b in (1, 3)}
        np.savez(tmp_path / f"{name}-pixels.npz", **batches)
    subprocess.run([sys.executable, "-c", STRANGER, *runs], cwd=tmp_path, check=True)
    for name, run in runs.items():
        with np.load(tmp_path / f"{name}-logits.npz") as logits:
            for b in (1, 3):
                assert logits[f"of_{b}"].dtype == np.float32
                where = f"{name}, batch of {b}"
                assert_close(logits[f"of_{b}"], expected(run, pixels(run, b)), where=where)


def test_how_to_load_it_is_told_beside_it(lenet, tmp_path, monkeypatch):
    """The lines in the .json file run as they stand."""
    export_program(lenet, tmp_path / "own.stablehlo")
    about = json.loads((tmp_path / "own.json").read_text())
    assert about["classes"] == list(CLASSES)
    assert about["input"]["shape"] == ["b", 12, 12, 1]
    assert about["output"]["shape"] == ["b", 3]
    assert about["normalization"]["mean"] == [0.4]
    assert about["normalization"]["std"] == [0.3]
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    assert about["versions"]["jax"] == jax.__version__
    monkeypatch.chdir(tmp_path)
    names = {"pixels": pixels(lenet, 2)}
    exec("\n".join(about["load"]), names)
    assert_close(names["logits"], expected(lenet, names["pixels"]))


def test_a_program_for_every_platform(lenet):
    """A GPU's and a TPU's need none of them here; each platform's kernels are in the program."""
    program = exported(lenet)
    assert program.platforms == ("cpu", "cuda", "tpu")
    text = program.mlir_module()
    assert "_platform_index" in text
    assert "tensor<?x12x12x1xui8>" in text
    alone = {p: exported(lenet, platforms=(p,)).mlir_module() for p in program.platforms}
    counts = {p: text.count("stablehlo.convolution") for p, text in alone.items()}
    assert counts["cuda"] == counts["tpu"] == 2  # XLA's own
    assert counts["cpu"] < 2  # the first layer, of one channel, is shifts on a CPU


def test_layers_in_bfloat16_give_logits_in_float32():
    run = make_run("lenet", 12, dtype="bfloat16")
    images = pixels(run, 3)
    logits = exported(run).call(images)
    assert logits.dtype == jnp.float32
    assert_close(logits, expected(run, images), "bfloat16")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 32),
        ("mobilenet_v2", 32),
        ("convnext_tiny", 32),
        ("densenet121", 32),
        ("googlenet", 32),
        ("shufflenet_v2_x0_5", 32),
        ("efficientnet_b0", 32),
    ],
)
@pytest.mark.usefixtures("unchecked")  # a batch size that is not known is no int to beartype
def test_the_zoo_is_exported_for_any_batch(name, size):
    run = make_run(name, size)
    call = jax.jit(jax.export.deserialize(exported(run).serialize()).call)
    for b in (1, 3):
        images = pixels(run, b)
        assert_close(call(images), expected(run, images), "zoo float32", where=f"batch of {b}")


def test_weights_come_back_bit_for_bit(tmp_path):
    run = make_run("resnet20", 16)
    path = tmp_path / "resnet20.safetensors"
    assert export_weights(run, path) == (path,)
    model, pretrained = weights.pretrained("resnet20", path)  # as `predict --weights` does
    assert model.num_classes == len(CLASSES)
    for back in (pretrained, weights.load_safetensors(path)):
        jax.tree.map(np.testing.assert_array_equal, back, jax.device_get(run.variables))


def test_weights_know_what_they_are_for(tmp_path):
    run = make_run("lenet", 12, 1, drop_rate=0.5)
    export_weights(run, tmp_path / "lenet.safetensors")
    _, texts = read_safetensors(tmp_path / "lenet.safetensors")
    assert texts["model"] == "lenet"
    assert json.loads(texts["model_options"]) == {"drop_rate": "0.5"}
    assert json.loads(texts["input"])["classes"] == list(CLASSES)


@pytest.mark.parametrize(
    ("export", "ending"), [(export_program, "stablehlo"), (export_weights, "safetensors")]
)
def test_nothing_is_overwritten_unasked(export, ending, lenet, tmp_path):
    path = tmp_path / f"own.{ending}"
    files = export(lenet, path)
    assert sorted(tmp_path.iterdir()) == sorted(files)  # nothing half-written lies about
    for file in files:
        file.write_bytes(b"mine")
        with pytest.raises(ValueError, match=f"{export.__name__}: .*own.* is there already"):
            export(lenet, path)
        assert file.read_bytes() == b"mine"
        export(lenet, path, overwrite=True)
        assert file.stat().st_size > 100
    with pytest.raises(ValueError, match=f"the file's name must end in .{ending}, got .*own.bin"):
        export(lenet, tmp_path / "own.bin")
    with pytest.raises(FileNotFoundError, match="there is no directory .*nowhere for own"):
        export(lenet, tmp_path / "nowhere" / f"own.{ending}")


def test_flatbuffers_is_named_where_it_is_missing(lenet, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install flatbuffers"):
        export_program(lenet, tmp_path / "own.stablehlo")
    assert not list(tmp_path.iterdir())
