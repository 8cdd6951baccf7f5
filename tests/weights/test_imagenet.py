from pathlib import PureWindowsPath

import pytest

from jaxcnn import models
from jaxcnn.weights import imagenet_classes, preprocessing, published
from jaxcnn.weights.imagenet import _table

ROWS = [row for rows in _table().values() for row in rows]


def test_the_table_is_of_our_models():
    assert len(ROWS) == 102
    assert set(_table()) <= set(models.names())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.file)
def test_rows_make_sense(row):
    how = row.preprocessing
    assert 200 < how.crop <= how.resize <= 600
    assert how.interpolation in ("bilinear", "bicubic")
    assert how.channels == "RGB"
    assert len(how.mean) == len(how.std) == 3
    assert 50 < row.top1 < row.top5 < 100
    assert row.url.startswith("https://")
    assert row.source.startswith("https://")
    assert len(row.sha256_prefix) in (8, 10)
    assert int(row.sha256_prefix, 16)


def test_files_and_versions_are_unique():
    assert len({row.url for row in ROWS}) == len(ROWS)
    assert len({(row.model, row.tag) for row in ROWS}) == len(ROWS)


def test_the_default_comes_first():
    assert [row.tag for row in published("resnet50")] == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    assert [row.top1 for row in published("mobilenet_v2")] == [72.154, 71.878]
    assert published("lenet") == ()
    with pytest.raises(ValueError, match="no model named 'resnet19'; did you mean"):
        published("resnet19")


def test_a_file_is_known_by_its_name():
    assert preprocessing("mobilenet_v2").resize == 232
    for file in (
        "mobilenet_v2-b0353104.pth",
        "/some/where/mobilenet_v2-b0353104.pth",
        "hub:some/repository@main:mobilenet_v2-b0353104.pth",
        "hub:some/repository@main:in/mobilenet_v2-b0353104.pth#b03531047ffacf1e",
        PureWindowsPath("C:/weights/mobilenet_v2-b0353104.pth"),
    ):
        assert preprocessing("mobilenet_v2", file).resize == 256
    with pytest.warns(UserWarning, match="renamed.pth is none of mobilenet_v2's published files"):
        assert preprocessing("mobilenet_v2", "renamed.pth").resize == 232
    with pytest.raises(ValueError, match="preprocessing: no weights of lenet are published"):
        preprocessing("lenet", "lenet.pth")


def test_statistics():
    usual = preprocessing("resnet18")
    assert (usual.mean, usual.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for name in ("googlenet", "inception_v3", "efficientnet_v2_l"):  # x in [0, 1] to [-1, 1]
        how = preprocessing(name)
        assert how.mean == how.std == (0.5, 0.5, 0.5)
    how = preprocessing("inception_v3")
    assert (how.resize, how.crop) == (342, 299)


@pytest.mark.parametrize(
    ("name", "resize", "crop", "interpolation"),
    [
        ("efficientnet_lite0", 256, 224, "bicubic"),
        ("efficientnet_lite2", 292, 260, "bicubic"),
        ("efficientnet_lite4", 413, 380, "bilinear"),
    ],
)
def test_lite_takes_pixels_minus_127_over_128(name, resize, crop, interpolation):
    how = preprocessing(name)
    assert how[:3] == (resize, crop, interpolation)
    for pixel in (0, 127, 255):
        scaled = (pixel / 255 - how.mean[0]) / how.std[0]
        assert scaled == pytest.approx((pixel - 127) / 128, abs=1e-12)


def test_classes():
    classes = imagenet_classes()
    assert len(classes) == 1000
    assert (classes[0], classes[285], classes[967], classes[999]) == (
        "tench",
        "Egyptian cat",
        "espresso",
        "toilet tissue",
    )
    assert all(name == name.strip() and name for name in classes)


def test_an_unknown_file_is_said_to_be_one():
    with pytest.warns(UserWarning, match=r"own.pth is none of resnet50's published files"):
        how = preprocessing("resnet50", "/here/own.pth")
    assert how == published("resnet50")[0].preprocessing
    assert preprocessing("resnet50", "/here/#1/resnet50-0676ba61.pth").resize == 256
