"""Makes preprocessing.npz: what torchvision's preset `ImageClassification` gives of a PIL image.

Each array is named HEIGHTxWIDTH-RESIZE-CROP-INTERPOLATION; the image is drawn by its height and
width. Mean and std are those of the class, ImageNet's.

Needs torchvision (0.28 made the committed file); the tests do not.
Command: python tests/golden/make_preprocessing.py
"""

import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent
sys.path.insert(0, str(GOLDEN))

CASES = [  # height, width, resize, crop
    (40, 60, 16, 14),  # margins of 1 and of 5 pixels, halves of which round to even
    (60, 40, 17, 14),  # 25.5 pixels round down
    (23, 31, 23, 20),  # nothing to resize; an odd margin
    (20, 30, 10, 13),  # a crop larger than the shorter side, and an odd one around it
    (9, 7, 12, 18),  # enlarged, and smaller than the crop both ways
]


def image(height, width):
    """Smooth in places and noisy in others; the tests draw the same."""
    rng = np.random.default_rng(height * width)
    noise = rng.integers(0, 256, (height, width, 3))
    ramp = np.linspace(0, 255, width)[None, :, None]
    mixed = np.where(np.arange(height)[:, None, None] < height // 2, noise, ramp)
    return mixed.astype(np.uint8)


def main():
    import zoo_references as references

    references.torchvision()
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    values = {}
    for height, width, resize, crop in CASES:
        for mode in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC):
            preset = ImageClassification(crop_size=crop, resize_size=resize, interpolation=mode)
            y = preset(Image.fromarray(image(height, width)))
            name = f"{height}x{width}-{resize}-{crop}-{mode.value}"
            values[name] = y.permute(1, 2, 0).numpy()
    np.savez_compressed(GOLDEN / "preprocessing.npz", **values)


if __name__ == "__main__":
    main()
