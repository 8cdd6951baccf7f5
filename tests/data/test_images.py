import warnings

import jax
import numpy as np
import pytest
from PIL import Image

from helpers import assert_close
from jaxcnn.data.images import (
    center_crop,
    image_header,
    normalize,
    read_image,
    resize,
    resize_shorter,
    to_channels,
)


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def triangle(t):
    return max(1 - abs(t), 0)


def cubic(t):
    """Keys (1981), equation 4 with a = -1/2."""
    t = abs(t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0


def resize_axis(x, length, kernel):
    """A filter by its definition, widened where the axis shrinks; on the first axis."""
    n = len(x)
    scale = n / length
    y = np.zeros((length, *x.shape[1:]))
    for i in range(length):
        centre = (i + 0.5) * scale
        weights = [kernel((j + 0.5 - centre) / max(scale, 1)) for j in range(n)]
        y[i] = np.tensordot(weights, x, 1) / sum(weights)
    return y


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 12), (5, 3), (1, 20)])
@pytest.mark.parametrize(("interpolation", "kernel"), [("bilinear", triangle), ("bicubic", cubic)])
def test_resize_is_the_loop(channels, size, interpolation, kernel):
    images = 64 + pixels(2, 8, 7, channels) // 2  # the cubic overshoots, and 0 and 255 would cut it
    y = resize(images, size, interpolation=interpolation)
    assert y.shape == (2, *size, channels)
    assert y.dtype == np.uint8
    if interpolation == "bilinear":
        np.testing.assert_array_equal(resize(images, size), y)
    for image, resized in zip(images / 1.0, y, strict=True):
        wide = np.swapaxes(resize_axis(np.swapaxes(image, 0, 1), size[1], kernel), 0, 1)
        # Pillow rounds to whole levels after each of the two axes.
        assert abs(resize_axis(wide, size[0], kernel) - resized).max() <= 1.5


@pytest.mark.parametrize(("shape", "size"), [((20, 33), (10, 16)), ((33, 20), (16, 10))])
def test_resize_shorter(shape, size):
    images = pixels(2, *shape, 3)
    y = resize_shorter(images, 10, interpolation="bicubic")
    np.testing.assert_array_equal(y, resize(images, size, interpolation="bicubic"))
    assert resize_shorter(images, 20) is images


def test_center_crop():
    images = pixels(2, 6, 7, 3)
    np.testing.assert_array_equal(center_crop(images, (2, 4)), images[:, 2:4, 2:6])  # 1.5 is 2
    np.testing.assert_array_equal(center_crop(images, (5, 2)), images[:, :5, 2:4])  # 0.5 is 0
    np.testing.assert_array_equal(center_crop(images, (6, 7)), images)
    wide = center_crop(images, (4, 10))
    np.testing.assert_array_equal(wide[:, :, 1:8], images[:, 1:5])
    assert not wide[:, :, :1].any()
    assert not wide[:, :, 8:].any()
    assert center_crop(images, (9, 9)).shape == (2, 9, 9, 3)


def test_resize_laws():
    images = pixels(2, 6, 5, 3)
    assert resize(images, (6, 5)) is images
    flat = np.full((1, 6, 5, 1), 77, np.uint8)
    assert np.unique(resize(flat, (28, 11))).tolist() == [77]
    mirrored = resize(images[:, :, ::-1], (9, 8))
    np.testing.assert_array_equal(mirrored, resize(images, (9, 8))[:, :, ::-1])
    assert resize(images[:0], (3, 3)).shape == (0, 3, 3, 3)


def test_to_channels_is_pillows():
    images = pixels(2, 9, 8, 3)
    gray = to_channels(images, 1)
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    np.testing.assert_array_equal(gray[..., 0], expected)
    back = to_channels(gray, 3)
    assert back.shape == images.shape
    np.testing.assert_array_equal(to_channels(back, 1), gray)
    assert to_channels(gray, 1) is gray
    assert to_channels(images[0], 1).shape == (9, 8, 1)


def test_normalize():
    images = pixels(3, 5, 4, 3)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 1.0)
    expected = (images / 255.0 - np.array(mean)) / np.array(std)
    y = normalize(images, mean, std)
    assert y.dtype == np.float32
    assert isinstance(y, np.ndarray)
    assert_close(y, expected)
    jitted = jax.jit(lambda x: normalize(x, mean, std))(images)
    assert jitted.dtype == np.float32
    assert_close(jitted, expected)


def test_normalize_by_own_statistics():
    from jaxcnn.data.datasets import statistics

    images = pixels(30, 5, 4, 3)
    y = normalize(images, *statistics(images))
    assert_close(y.mean(axis=(0, 1, 2)) + 1, np.ones(3))
    assert_close(y.std(axis=(0, 1, 2)), np.ones(3))


def test_errors(unchecked):
    images = pixels(1, 4, 4, 3)
    with pytest.raises(ValueError, match=r"resize: size must be at least one pixel .* \(0, 4\)"):
        resize(images, (0, 4))
    with pytest.raises(ValueError, match="resize: images have no pixels"):
        resize(images[:, :0], (4, 4))
    with pytest.raises(ValueError, match="resize: interpolation must be bilinear or .*'nearest'"):
        resize(images, (2, 2), interpolation="nearest")
    with pytest.raises(ValueError, match="resize_shorter: images have no pixels"):
        resize_shorter(images[:, :, :0], 4)
    with pytest.raises(ValueError, match=r"center_crop: size must be at least .* \(2, 0\)"):
        center_crop(images, (2, 0))
    with pytest.raises(ValueError, match="to_channels: converts between 1 and 3 .* got 3 to 4"):
        to_channels(images, 4)
    with pytest.raises(ValueError, match="normalize: mean and std need one number .* 3 channels"):
        normalize(images, (0.5,), (0.5,))
    with pytest.raises(ValueError, match="normalize: std must be positive"):
        normalize(images, (0.5,) * 3, (0.5, 0.0, 0.5))


@pytest.mark.parametrize("end", ["png", "bmp", "tif", "webp"])
def test_read_image_of_each_format(tmp_path, end):
    image = pixels(6, 5, 3)
    path = tmp_path / f"image.{end}"
    Image.fromarray(image).save(path, **({"lossless": True} if end == "webp" else {}))
    np.testing.assert_array_equal(read_image(path, 3), image)
    np.testing.assert_array_equal(read_image(path, 1), to_channels(image, 1))
    np.testing.assert_array_equal(read_image(str(path), 3, (9, 4)), resize(image[None], (9, 4))[0])
    assert image_header(path) == (6, 5, 3)


def test_read_image_gives_an_array_of_its_own(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(pixels(6, 5)).save(path)
    y = read_image(path, 1)
    y[0, 0, 0] = 3
    assert image_header(path) == (6, 5, 1)


def test_read_image_jpeg(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 256, 8, np.uint8)[:, None, None], (32, 16, 3))
    path = tmp_path / "image.jpg"
    Image.fromarray(np.ascontiguousarray(ramp)).save(path, quality=95)
    assert abs(read_image(path, 3).astype(int) - ramp).max() <= 4


def test_read_image_upright(tmp_path):
    image = pixels(6, 4)
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    Image.fromarray(image).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], np.rot90(image, -1))
    assert image_header(path) == (4, 6, 1)


def test_read_image_16_bits(tmp_path):
    deep = np.array([[0, 255, 256], [32768, 65280, 65535]], np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    assert read_image(path, 1)[..., 0].tolist() == [[0, 0, 1], [128, 255, 255]]
    assert image_header(path) == (2, 3, 1)


def test_read_image_on_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = [0, 255, 128]
    path = tmp_path / "clear.png"
    Image.fromarray(rgba).save(path)
    assert read_image(path, 1)[0, :, 0].tolist() == [255, 0, 127]
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putdata([0, 1])
    palette.save(path, transparency=b"\x00\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path, 3)[0].tolist() == [[255, 255, 255], [10, 20, 30]]


def test_read_image_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"read_image: there is no file .*absent\.png"):
        read_image(tmp_path / "absent.png", 3)
    path = tmp_path / "text.png"
    path.write_text("not a picture")
    with pytest.raises(ValueError, match=r"read_image: .*text\.png is no image that Pillow"):
        read_image(path, 3)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"read_image: .*text\.png is empty"):
        read_image(path, 3)
    Image.new("F", (2, 2)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif cannot be decoded.*32 bits, 8 or 16"):
        read_image(tmp_path / "float.tif", 3)
    with pytest.raises(ValueError, match="read_image: channels must be 1 or 3, got 4"):
        read_image(path, 4)


@pytest.mark.parametrize("end", ["png", "jpg", "bmp", "gif"])
def test_read_image_truncated(tmp_path, end):
    path = tmp_path / f"cut.{end}"
    Image.fromarray(pixels(64, 64, 3)).save(path)
    whole = path.read_bytes()
    for share in (0.9, 0.5, 0.2):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=rf"read_image: .*cut\.{end} cannot be decoded"):
            read_image(path, 3)


def test_read_image_corrupt(tmp_path):
    """Whatever bytes change, the answer is an image or an error that names the file."""
    rng = np.random.default_rng(0)
    refused = 0
    for end in ("png", "jpg", "gif", "bmp", "tif", "webp"):
        path = tmp_path / f"changed.{end}"
        Image.fromarray(pixels(24, 24, 3)).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            changed = whole.copy()
            changed[rng.integers(0, min(len(whole), 200), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(changed.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of odd metadata and large sizes
                try:
                    assert read_image(path, 3, (8, 8)).shape == (8, 8, 3)
                except ValueError as error:
                    assert path.name in str(error)  # noqa: PT017
                    refused += 1
    assert refused > 60
