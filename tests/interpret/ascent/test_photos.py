import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from PIL import Image

from jaxcnn.interpret.ascent.photos import LONGEST, Net, dream_photo, save_photo

KERNEL = jax.random.normal(jax.random.key(0), (3, 5))


def f(x):
    y = checkpoint_name(jax.nn.relu(x @ KERNEL), "early")
    y = checkpoint_name(y**2, "late")
    return checkpoint_name(y.mean((1, 2)), "mean")


def fixed(x):
    """A net that takes 8x8 images alone."""
    y = checkpoint_name(jax.nn.relu(x @ KERNEL), "map")
    return y.reshape(len(x), -1) @ jnp.ones((320, 2))


NET = Net(f, (8, 8, 3), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", pixels


def test_zero_steps_give_the_photo_back(photo):
    path, pixels = photo
    for net in (NET, NET._replace(channels="BGR")):
        found = dream_photo(net, path, steps=0, octaves=2)
        np.testing.assert_array_equal(found.pixels, pixels)
    assert found.sizes == [(17, 29), (24, 40)]
    assert found.scores.shape == (2, 0)


def test_a_dream_shows_more_of_the_layer(photo):
    path, pixels = photo
    found = dream_photo(NET, path, octaves=2, steps=5)
    assert found.layer == "late"  # the last that has a map
    assert (found.scores[:, -1] > found.scores[:, 0]).all()
    assert found.pixels.shape == pixels.shape
    assert (found.pixels != pixels).any()
    assert dream_photo(NET, path, octaves=1, steps=1, layer="early").layer == "early"
    staged = NET._replace(stages=("early", "late"))
    assert dream_photo(staged, path, octaves=1, steps=1).layer == "early"


def test_the_channels_of_a_net_of_bgr_images(photo):
    """The first channel that it sees is blue: made brighter, it is the picture's last."""
    first = lambda x: checkpoint_name(x[..., :1] + 9, "first")  # noqa: E731
    net = Net(first, (8, 8, 3), (0.5,) * 3, (0.2,) * 3, channels="BGR")
    found = dream_photo(net, photo[0], octaves=1, steps=1, layer="first").pixels
    np.testing.assert_array_equal(found[..., :2], photo[1][..., :2])
    assert (found[..., 2].astype(int) >= photo[1][..., 2]).all()
    assert found[..., 2].mean() > photo[1][..., 2].mean() + 1


def test_sizes(photo, tmp_path):
    assert dream_photo(NET, photo[0], steps=0, size=20, octaves=1).pixels.shape == (12, 20, 3)
    Image.fromarray(np.zeros((10, 2 * LONGEST, 3), np.uint8)).save(tmp_path / "wide.png")
    found = dream_photo(NET, tmp_path / "wide.png", steps=0, octaves=1)
    assert found.pixels.shape == (5, LONGEST, 3)


def test_a_net_of_one_size_looks_at_tiles(photo):
    """24 pixels leave room for 8-pixel tiles after two steps down by 1.7, not after three."""
    net = NET._replace(f=fixed)
    found = dream_photo(net, photo[0], octaves=6, octave_scale=1.7, steps=2)
    assert found.sizes == [(8, 14), (14, 24), (24, 40)]
    small = dream_photo(net, photo[0], size=6, steps=1)  # enlarged until a tile fits
    assert small.sizes == [(8, 13)]


def test_gray(tmp_path, photo):
    gray = lambda x: checkpoint_name(x @ KERNEL[:1], "map").mean((1, 2))  # noqa: E731
    found = dream_photo(Net(gray, (8, 8, 1), (0.5,), (0.5,)), photo[0], octaves=1, steps=1)
    assert found.pixels.shape == (24, 40, 1)
    save_photo(tmp_path / "gray.png", found.pixels)
    with Image.open(tmp_path / "gray.png") as image:
        assert (image.mode, image.size) == ("L", (40, 24))


def test_what_is_saved_is_what_was_dreamt(photo, tmp_path):
    save_photo(tmp_path / "copy.png", photo[1])
    with Image.open(tmp_path / "copy.png") as image:
        np.testing.assert_array_equal(np.asarray(image), photo[1])


def test_errors(photo):
    flat = Net(lambda x: x.mean((1, 2)), (8, 8, 3), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match="last_maps: f has no layer of feature maps"):
        dream_photo(flat, photo[0])
    with pytest.raises(ValueError, match="layer_score: f has no layer 'lat'; did you mean 'late'"):
        dream_photo(NET, photo[0], layer="lat")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        dream_photo(NET, photo[0].with_name("none.png"))
