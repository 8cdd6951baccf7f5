import numpy as np
import pytest
from PIL import Image

from helpers import assert_close, golden
from jaxcnn.weights import Preprocessing, preprocess, preprocessing

GOLDEN = golden("preprocessing")
HOW = Preprocessing(16, 14, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def photo(height, width):
    """As tests/golden/make_preprocessing.py draws it."""
    rng = np.random.default_rng(height * width)
    noise = rng.integers(0, 256, (height, width, 3))
    ramp = np.linspace(0, 255, width)[None, :, None]
    mixed = np.where(np.arange(height)[:, None, None] < height // 2, noise, ramp)
    return mixed.astype(np.uint8)


@pytest.mark.parametrize("case", GOLDEN)
def test_equal_to_torchvision(case):
    size, resize, crop, interpolation = case.split("-")
    how = HOW._replace(resize=int(resize), crop=int(crop), interpolation=interpolation)
    y = preprocess([photo(*map(int, size.split("x")))], how)
    assert y.dtype == np.float32
    assert_close(y[0], GOLDEN[case])


def test_files_and_arrays_of_any_size(tmp_path):
    images = [photo(40, 60), photo(17, 16), photo(30, 30)[..., :1]]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image.squeeze()).save(path)
    y = preprocess(paths, HOW)
    assert y.shape == (3, 14, 14, 3)
    np.testing.assert_array_equal(y, preprocess([str(path) for path in paths], HOW))
    np.testing.assert_array_equal(y, preprocess(images, HOW))
    np.testing.assert_array_equal(y[:1], preprocess(np.stack(images[:1]), HOW))
    assert preprocess([], HOW).shape == (0, 14, 14, 3)


def test_mean_and_std_are_in_the_channels_order():
    bgr = HOW._replace(mean=HOW.mean[::-1], std=HOW.std[::-1], channels="BGR")
    rgb = preprocess([photo(20, 20)], HOW)
    np.testing.assert_array_equal(preprocess([photo(20, 20)], bgr), rgb[..., ::-1])


def test_pixel_values_of_lite():
    """(x - 127) / 128 and nothing else, where there is nothing to resize and to crop."""
    how = preprocessing("efficientnet_lite0")._replace(resize=32, crop=32)
    assert_close(preprocess([photo(32, 32)], how)[0], (photo(32, 32) - 127.0) / 128.0)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.jpg"):
        preprocess([tmp_path / "absent.jpg"], HOW)
