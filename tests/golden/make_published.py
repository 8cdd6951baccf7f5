"""Makes the tables of facts about torchvision's and timm's ImageNet classifiers.

- jaxcnn/weights/published.csv: each file of weights, its preprocessing and its accuracy;
- jaxcnn/weights/imagenet_classes.txt: the names of the classes;
- tests/golden/torchvision_models.csv: torchvision's convolutional nets, their parameters, and their
  multiply-adds on images of a height and width in pixels.

Needs torchvision (0.28 made the committed files) and timm (1.0.31); the tests do not.
Command: python tests/golden/make_published.py
"""

import csv
import math
import sys
from pathlib import Path

GOLDEN = Path(__file__).parent
WEIGHTS = GOLDEN.parent.parent / "jaxcnn" / "weights"
sys.path.insert(0, str(GOLDEN))

TRANSFORMERS = ("maxvit", "swin", "vit")

# googlenet's and inception_v3's weights were trained in TensorFlow on (x - 0.5) / 0.5. torchvision
# normalizes by ImageNet's mean and std and has the model undo it (transform_input=True).
PORTED = ("googlenet", "inception_v3")

# Google trained EfficientNet-Lite on (x - 127) / 128, x in 0..255: MEAN_RGB and STDDEV_RGB in
# https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py
# timm rounds that to (x / 255 - 0.5) / 0.5.
LITE = "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
LITE_MEAN, LITE_STD = 127 / 255, 128 / 255
# As timm measured them, with its rounded statistics:
# https://github.com/huggingface/pytorch-image-models/blob/main/results/results-imagenet.csv
LITE_ACCURACY = {
    "efficientnet_lite0": (74.830, 92.172),
    "efficientnet_lite1": (76.644, 93.230),
    "efficientnet_lite2": (77.464, 93.750),
    "efficientnet_lite3": (79.808, 94.912),
    "efficientnet_lite4": (81.532, 95.664),
}

COLUMNS = (
    "model", "tag", "url", "resize", "crop", "interpolation", "mean", "std", "channels", "top1",
    "top5", "source",
)  # fmt: skip


def main():
    import zoo_references as references

    names = [n for n in sorted(references.torchvision_names()) if not n.startswith(TRANSFORMERS)]
    rows = [row for name in names for row in of_torchvision(name)]
    rows += [of_timm(name, other) for name, other in sorted(references.timm_names().items())]
    write(
        WEIGHTS / "published.csv",
        "Published ImageNet weights, the preprocessing they want and their stated accuracy (%),",
        "from the metadata of torchvision 0.28 and timm 1.0.31; each model's default comes first.",
        rows=[COLUMNS, *rows],
    )
    write(
        WEIGHTS / "imagenet_classes.txt",
        "The classes of ImageNet (ILSVRC 2012) in the order of their indices, by torchvision's",
        "names: https://github.com/pytorch/vision/blob/main/torchvision/models/_meta.py",
        rows=[[category] for category in categories()],
    )
    write(
        GOLDEN / "torchvision_models.csv",
        "The convolutional classifiers of torchvision 0.28: parameters, and multiply-adds (10^9)",
        "on images of that height and width, as stated with the default weights.",
        rows=[("name", "parameters", "image", "giga_multiply_adds"), *map(size, names)],
    )


def of_torchvision(name):
    """Rows of a model's weights, torchvision's default first."""
    from torchvision.models import get_model_weights
    from torchvision.transforms import InterpolationMode

    versions = get_model_weights(name)
    rows = []
    for weights in sorted(versions, key=lambda weights: weights is not versions.DEFAULT):
        accuracy = weights.meta["_metrics"]["ImageNet-1K"]
        if math.isnan(accuracy["acc@1"]):
            continue  # vgg16's IMAGENET1K_FEATURES have no classifier
        how = weights.transforms()
        assert how.interpolation in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)
        mean, std = ([0.5] * 3, [0.5] * 3) if name in PORTED else (how.mean, how.std)
        rows.append(
            (
                *(name, weights.name, weights.url),
                *(how.resize_size[0], how.crop_size[0], how.interpolation.value),
                *(numbers(mean), numbers(std), "RGB"),
                *(accuracy["acc@1"], accuracy["acc@5"], weights.meta["recipe"]),
            )
        )
    return rows


def of_timm(name, other):
    """The row of a model that timm calls otherwise."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(other)
    assert config.crop_mode == "center"
    _, height, _ = config.input_size
    return (
        *(name, config.tag, config.url),
        *(math.floor(height / config.crop_pct), height, config.interpolation),
        *(numbers([LITE_MEAN] * 3), numbers([LITE_STD] * 3), "RGB"),
        *(*LITE_ACCURACY[name], LITE),
    )


def numbers(values):
    return " ".join(map(str, values))


def categories():
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return _IMAGENET_CATEGORIES


def size(name):
    """A row of torchvision_models.csv."""
    import zoo_references as references
    from torchvision.models import get_model_weights

    parameters = sum(p.numel() for p in references.build(name, None).parameters())
    default = get_model_weights(name).DEFAULT
    return name, parameters, default.transforms().crop_size[0], default.meta["_ops"]


def write(path, *comments, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        for comment in comments:
            file.write(f"# {comment}\n")
        csv.writer(file, lineterminator="\n").writerows(rows)
    print(path, len(rows), "rows")


if __name__ == "__main__":
    main()
