import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.plots import activation_sheet, save, style, tiles


def test_a_row_for_each_layer(tmp_path):
    maps = {"conv1": array(8, 6, 5), "conv2": array(4, 3, 2, seed=1)}
    maps = {name: np.array(y, np.float64) for name, y in maps.items()}
    figure = activation_sheet(maps, channels=3)
    names = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert names == ["conv1\n8x6x5", "conv2\n4x3x2"]
    titled = [axes for axes in figure.axes if axes.get_title()]
    bars = [axes for axes in figure.axes if not axes.get_title()]
    expected = []
    for name, y in maps.items():
        end = float(y.max())
        for channel in sorted(range(y.shape[-1]), key=lambda c, y=y: -y[..., c].max())[:3]:
            expected.append((f"channel {channel}", y[..., channel], end))
        bar = bars[list(maps).index(name)]
        assert [t.get_text() for t in bar.get_yticklabels()] == ["0", f"{end:.2g}"]
    assert len(titled) == len(expected) == 5
    for axes, (title, values, end) in zip(titled, expected, strict=True):
        assert axes.get_title() == title
        colours = tiles.coloured(np.maximum(values, 0), style.AMOUNT, 0, end)
        assert_close(np.asarray(axes.images[0].get_array()), colours, "exact")
    assert figure.get_suptitle() == "2 layers, the strongest channels of each"
    assert save(figure, tmp_path / "layers.png").stat().st_size > 5000


def test_layers_that_say_nothing():
    figure = activation_sheet({"dead": jnp.zeros((2, 2, 3)) - 1}, title="dead")
    assert [axes.get_title() for axes in figure.axes[:3]] == [f"channel {i}" for i in range(3)]
    assert figure.get_suptitle() == "dead"


def test_errors(unchecked):
    with pytest.raises(ValueError, match="activation_sheet: maps needs at least one layer, got no"):
        activation_sheet({})
    with pytest.raises(ValueError, match="activation_sheet: channels needs at least 1, got 0"):
        activation_sheet({"a": array(2, 2, 2)}, channels=0)
    with pytest.raises(
        ValueError, match=r"layer 'a' needs finite maps h w c, .* got shape \(1, 2,"
    ):
        activation_sheet({"a": array(1, 2, 2, 2)})
    with pytest.raises(ValueError, match="layer 'a' needs finite maps .* with NaN or infinity"):
        activation_sheet({"a": jnp.full((2, 2, 2), jnp.inf)})
