import hashlib

import huggingface_hub
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from jaxcnn import models
from jaxcnn.weights import load, load_safetensors, save_safetensors, to_torch


@pytest.fixture(scope="module")
def variables():
    model = models.create("mlp")
    return jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


@pytest.fixture
def files(variables, tmp_path):
    """The same weights as ours and as a PyTorch state."""
    save_safetensors(tmp_path / "ours", variables)
    save_file(to_torch("mlp", variables), tmp_path / "torch", {"format": "pt"})
    return [tmp_path / "ours", tmp_path / "torch"]


def assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_from_either_file(files, variables):
    for file in files:
        assert_equal(load("mlp", file), variables)
        assert_equal(load("mlp", str(file), num_classes=10), variables)


def test_other_classes(files, variables, tmp_path):
    (head,) = (k for k, v in variables["params"].items() if v["bias"].shape == (10,))
    for file in files:
        with pytest.warns(UserWarning, match=f"not of 3 classes: new {head}.bias, {head}.weight"):
            found = load("mlp", file, num_classes=3, key=jax.random.key(1))
        assert found["params"][head]["kernel"].shape[-1] == 3
        rest = {k: v for k, v in variables["params"].items() if k != head}
        assert_equal({k: v for k, v in found["params"].items() if k != head}, rest)
        without = load("mlp", file, num_classes=0)
        assert_equal(without["params"], rest)
        save_safetensors(tmp_path / "without", without)
        assert_equal(load("mlp", tmp_path / "without", num_classes=0), without)
        with pytest.raises(ValueError, match=f"missing: {head}.weight|missing: {head}.bias"):
            load("mlp", tmp_path / "without")


def test_strictness(files, tmp_path):
    for file in files:
        with pytest.raises(ValueError, match="do(es)? not fit convnet: missing: .*unexpected: "):
            load("convnet", file)
    found = load_safetensors(files[0])
    name = next(iter(found["params"]))
    kernel = found["params"][name].pop("kernel")
    save_safetensors(tmp_path / "x", found)
    with pytest.raises(ValueError, match=f"missing: params/{name}/kernel"):
        load("mlp", tmp_path / "x")
    found["params"][name]["kernel"] = kernel[..., :1]
    save_safetensors(tmp_path / "x", found)
    with pytest.raises(ValueError, match=f"of another shape: params/{name}/kernel"):
        load("mlp", tmp_path / "x")


def test_sources(files, variables, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, revision: str(files[1]))
    sha256 = hashlib.sha256(files[1].read_bytes()).hexdigest()
    assert_equal(load("mlp", f"hub:a/b@{'0' * 40}:c#{sha256}"), variables)
    with pytest.raises(FileNotFoundError):
        load("mlp", tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        load("mlp", tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="read: .*empty is refused"):
        load("mlp", tmp_path / "empty")
