import hashlib

import numpy as np

from jaxcnn.data.embedded import load_digits, load_synthetic


def test_digits():
    digits = load_digits()
    assert digits.train.images.shape == (1438, 8, 8, 1)
    assert len(digits.test) == 359
    assert digits.classes == tuple("0123456789")
    every = np.concatenate([digits.train.images, digits.test.images])
    assert set(np.unique(every)) == {round(255 * v / 16) for v in range(17)}
    total = np.bincount(np.concatenate([digits.train.labels, digits.test.labels]))
    np.testing.assert_array_less(abs(np.bincount(digits.test.labels) - total / 5), 1)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits as original

    digits = load_digits()
    pixels, labels = original(return_X_y=True)
    ours = {
        (image.tobytes(), int(label))
        for s in (digits.train, digits.test)
        for image, label in zip(s.images, s.labels, strict=True)
    }
    theirs = {
        (np.rint(x * 255 / 16).astype(np.uint8).tobytes(), int(y))
        for x, y in zip(pixels, labels, strict=True)
    }
    assert ours == theirs


def test_the_held_out_digits_never_change():
    held = hashlib.sha256(load_digits().test.images.tobytes()).hexdigest()
    assert held == "945dec6adde59487f58867bc414425d3043f023d60e0ccc0caf63e78fd3af6f3"


def test_synthetic():
    synthetic = load_synthetic()
    assert synthetic.train.images.shape == (400, 32, 32, 3)
    assert synthetic.test.images.shape == (100, 32, 32, 3)
    assert np.bincount(synthetic.train.labels).tolist() == [40] * 10
    np.testing.assert_array_equal(synthetic.train.images, load_synthetic().train.images)


def test_synthetic_can_be_learnt():
    """The strongest wave in an image points where its class says."""
    test = load_synthetic().test
    gray = test.images.mean(axis=-1) - test.images.mean(axis=(1, 2, 3))[:, None, None]
    power = abs(np.fft.fft2(gray, (128, 128))) ** 2
    frequency = np.fft.fftfreq(128)
    power[:, np.hypot(frequency[:, None], frequency) > 0.25] = 0
    y, x = np.unravel_index(power.reshape(len(test), -1).argmax(axis=1), (128, 128))
    angle = np.arctan2(frequency[y], frequency[x]) % np.pi
    guess = np.rint(angle / (np.pi / 10)).astype(int) % 10
    assert np.mean(guess == test.labels) > 0.95


def test_synthetic_is_not_told_by_single_pixels():
    from sklearn.neighbors import NearestCentroid

    synthetic = load_synthetic()
    flat = [s.images.reshape(len(s), -1) / 255.0 for s in (synthetic.train, synthetic.test)]
    model = NearestCentroid().fit(flat[0], synthetic.train.labels)
    assert model.score(flat[1], synthetic.test.labels) < 0.5
