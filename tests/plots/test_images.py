import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from helpers import array, assert_close
from jaxcnn.plots import image_sheet, save, style


def drawn(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def test_images_with_their_titles(tmp_path):
    images = np.random.default_rng(0).random((5, 6, 9, 3))
    figure = image_sheet(images, list("abcde"), columns=2)
    assert [axes.get_title() for axes in figure.axes] == list("abcde")
    for tile, image in zip(drawn(figure), images, strict=True):
        assert_close(tile, image, "exact")
    assert figure.get_suptitle() == "5 images of 6x9 pixels"
    assert [t.get_text() for axes in figure.axes for t in axes.texts] == ["2 pixels"]
    assert figure.axes[4].texts  # the first of the last row
    assert save(figure, tmp_path / "images.png").stat().st_size > 2000


def test_grey_limits_and_what_is_outside():
    images = jnp.array([[-1.0, 0, 1], [3, jnp.nan, -5]]).reshape(1, 2, 3, 1)
    (tile,) = drawn(image_sheet(images, limits=(-1, 1), title="patches"))
    assert_close(tile[0], np.repeat([[0], [0.5], [1]], 3, axis=1), "exact")
    assert_close(tile[1], np.array([[1, 1, 1], to_rgb(style.EMPTY), [0, 0, 0]]), "exact")
    assert image_sheet(images, title="patches").get_suptitle() == "patches"
    assert image_sheet(images).get_suptitle() == "1 image of 2x3 pixels"


def test_small_images_keep_their_pixels():
    for size, interpolation in [(8, "nearest"), (224, "antialiased")]:
        figure = image_sheet(jnp.zeros((1, size, size, 1)))
        assert figure.axes[0].images[0].get_interpolation() in (interpolation, "auto")
    assert image_sheet(jnp.zeros((1, 8, 8, 1))).axes[0].images[0].get_interpolation() == "nearest"


def test_rows_are_of_equal_length():
    for n, columns in [(3, 3), (8, 8), (9, 5), (10, 5), (16, 8), (17, 6)]:
        figure = image_sheet(jnp.zeros((n, 2, 2, 1)))
        assert figure.axes[0].get_gridspec().ncols == columns
        assert len(figure.axes) == n


def test_errors(unchecked):
    with pytest.raises(ValueError, match=r"image_sheet: images needs shape .* got \(1, 2, 2, 2\)"):
        image_sheet(array(1, 2, 2, 2))
    with pytest.raises(ValueError, match=r"image_sheet: .* none empty, got \(0, 2, 2, 1\)"):
        image_sheet(jnp.zeros((0, 2, 2, 1)))
    images = array(2, 2, 2, 1)
    with pytest.raises(
        ValueError, match="image_sheet: 2 images need as many titles or none, got 1"
    ):
        image_sheet(images, ["a"])
    with pytest.raises(ValueError, match="image_sheet: columns needs at least 1, got 0"):
        image_sheet(images, columns=0)
    with pytest.raises(ValueError, match=r"image_sheet: limits need to rise, got \(1, 1\)"):
        image_sheet(images, limits=(1, 1))
