import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.plots import attribution_panels, save, style, tiles


def main_axes(figure):
    return [axes for axes in figure.axes if axes.get_title()]


def pixels(axes):
    return np.asarray(axes.images[0].get_array())


def bar(axes):
    return [label.get_text() for label in axes.child_axes[0].get_xticklabels()]


IMAGES = np.random.default_rng(0).random((2, 6, 8, 3))


def test_each_image_with_every_method(tmp_path):
    maps = {"one": array(2, 6, 8, 3), "two": array(2, 6, 8, seed=1), "cam": jnp.ones((2, 6, 8))}
    numbers = {"one": "kept 0.84, deletion 0.06"}
    figure = attribution_panels(IMAGES, maps, numbers=numbers, captions=["cat", "cup"])
    axes = main_axes(figure)
    names = ["one", "two", "cam"]
    assert [a.get_title() for a in axes] == ["cat", *names, "cup", *names]
    assert [a.get_xlabel() for a in axes] == ["", "kept 0.84\ndeletion 0.06", *[""] * 6]
    assert_close(pixels(axes[4]), IMAGES[1], "exact")
    assert figure.get_suptitle() == "3 attributions of 2 images"
    note = figure.get_supxlabel().replace("\n", " ")
    assert "Red: for, blue: against" in note
    assert "Over the image in grey" in note
    assert save(figure, tmp_path / "maps.png").stat().st_size > 5000


def test_signed_maps_are_centred_at_zero():
    values = np.array(array(2, 6, 8, 3), np.float64)
    values[0, 0, 0] = 1000  # one pixel that is out of scale
    figure = attribution_panels(IMAGES, {"map": values})
    for i, axes in enumerate(main_axes(figure)[1::2]):
        total = values[i].sum(-1)
        end = float(np.percentile(np.abs(total), 99))
        assert_close(pixels(axes), tiles.coloured(total, style.SIGNED, -end, end), "exact")
        assert bar(axes) == [f"{-end:.2g}", "0", f"{end:.2g}"]
        assert all(spine.get_visible() for spine in axes.spines.values())
    assert "grey" not in figure.get_supxlabel()


def test_maps_without_negative_values_lie_over_the_image():
    values = np.abs(np.array(array(2, 6, 8), np.float64))
    values[1, :3] = 0
    figure = attribution_panels(IMAGES, {"cam": values})
    for i, axes in enumerate(main_axes(figure)[1::2]):
        end = float(np.percentile(values[i], 99))
        over = tiles.coloured(values[i], style.AMOUNT, 0, end)
        grey = IMAGES[i].mean(-1, keepdims=True)
        assert_close(pixels(axes), 0.65 * over + 0.35 * grey, "float64")
        assert bar(axes) == ["0", f"{end:.2g}"]
    assert "Red" not in figure.get_supxlabel()


@pytest.mark.parametrize("positive", [0, 1])
def test_a_method_is_drawn_alike_for_all_images(positive):
    values = np.array(array(2, 6, 8))
    values[positive] = np.abs(values[positive])
    axes = main_axes(attribution_panels(IMAGES, {"map": values}))
    assert len(bar(axes[1])) == len(bar(axes[3])) == 3


def test_maps_of_zeros_and_of_few_values():
    few = np.zeros((2, 20, 20))
    few[0, 3, 3] = -4
    images = np.zeros((2, 20, 20, 1))
    axes = main_axes(attribution_panels(images, {"few": few, "none": 0 * few}))
    assert bar(axes[1]) == ["-4", "0", "4"]
    assert bar(axes[4]) == ["-1", "0", "1"]
    assert bar(axes[2]) == ["0", "1"]
    assert_close(pixels(axes[1])[3, 3], tiles.coloured(few[0], style.SIGNED, -4, 4)[3, 3], "exact")


def test_methods_go_on_in_further_rows():
    maps = {f"method {i}": array(2, 6, 8) for i in range(6)}
    for columns, wide in [(5, 4), (7, 7), (9, 7), (2, 2), (3, 3)]:
        figure = attribution_panels(IMAGES, maps, columns=columns)
        grid = figure.axes[0].get_gridspec()
        assert grid.ncols == wide
        assert grid.nrows == 2 * -(-7 // columns)
        assert len(main_axes(figure)) == 14
        second = main_axes(figure)[7].get_subplotspec()
        assert second.rowspan.start == grid.nrows // 2
        assert second.colspan.start == 0


def test_errors(unchecked):
    maps = {"map": array(2, 6, 8)}
    with pytest.raises(ValueError, match=r"attribution_panels: images needs shape .* \(2, 6, 8, 2"):
        attribution_panels(array(2, 6, 8, 2), maps)
    with pytest.raises(ValueError, match="attribution_panels: attributions needs at least one"):
        attribution_panels(IMAGES, {})
    for wrong in (array(2, 6, 7), array(1, 6, 8, 3), array(6, 8)):
        with pytest.raises(ValueError, match=r"'map' needs finite maps of shape \(2, 6, 8, 3\) or"):
            attribution_panels(IMAGES, {"map": wrong})
    with pytest.raises(ValueError, match="'map' needs finite maps .* with NaN or infinity"):
        attribution_panels(IMAGES, {"map": jnp.full((2, 6, 8), jnp.nan)})
    with pytest.raises(
        ValueError, match=r"numbers needs names of attributions \['map'\], got \['m"
    ):
        attribution_panels(IMAGES, maps, numbers={"mop": "1"})
    with pytest.raises(ValueError, match="2 images need as many captions or none, got 1"):
        attribution_panels(IMAGES, maps, captions=["a"])
    with pytest.raises(ValueError, match="attribution_panels: columns needs at least 2, got 1"):
        attribution_panels(IMAGES, maps, columns=1)
