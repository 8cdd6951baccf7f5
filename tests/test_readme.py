"""The README's transfer-learning sample runs as it stands, on a file of the name it gives."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import zoo_recipe as recipe
from safetensors.numpy import save_file

README = Path(__file__).parent.parent / "README.md"


def test_transfer_learning(tmp_path, monkeypatch):
    (sample,) = re.findall(r"```python\n(import jax\n.*?)```", README.read_text("utf-8"), re.S)
    state = recipe.state("resnet18", num_classes=1000)
    save_file(state, tmp_path / "resnet18-f37072fd.pth")  # told by its content
    monkeypatch.chdir(tmp_path)
    names = {
        "images": jnp.asarray(recipe.images("resnet18")[:, :32, :32]),
        "labels": jnp.asarray(recipe.labels()),
    }
    with pytest.warns(UserWarning, match=r"not of 10 classes: new fc.bias, fc.weight."):
        exec(sample, names)
    assert names["features"].shape == (4, 512)
    assert names["flow"]["layer3"].shape == (4, 2, 2, 256)
    before, after = names["variables"]["params"], names["state"].params
    np.testing.assert_array_equal(
        before["layer2"]["0"]["conv1"]["kernel"], after["layer2"]["0"]["conv1"]["kernel"]
    )
    assert not np.array_equal(
        before["layer3"]["0"]["conv1"]["kernel"], after["layer3"]["0"]["conv1"]["kernel"]
    )
