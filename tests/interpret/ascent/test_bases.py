import jax.numpy as jnp
import numpy as np
import pytest

from helpers import array, assert_close
from jaxcnn.interpret.ascent.bases import COLOURS, analyze, check_basis, synthesize

BASES = [("pixels", False), ("pixels", True), ("fourier", False), ("fourier", True)]


@pytest.mark.parametrize(("basis", "decorrelate"), BASES)
@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_analysis_is_the_adjoint_of_synthesis(x64, basis, decorrelate, size):
    z, g = array(2, *size, 3), array(2, *size, 3, seed=1)
    left = jnp.vdot(synthesize(z, basis, decorrelate), g)
    assert_close(left, jnp.vdot(z, analyze(g, basis, decorrelate)), "float64")


def test_pixels_are_themselves():
    z = array(1, 4, 4, 2)
    assert synthesize(z, "pixels", False) is z
    assert analyze(z, "pixels", False) is z


@pytest.mark.parametrize("size", [(8, 8), (5, 8), (8, 7)])
def test_each_frequency_is_divided_by_itself(x64, size):
    z = array(1, *size, 1)
    h, w = size
    ratio = np.fft.fft2(synthesize(z, "fourier", False)[0, ..., 0]) / np.fft.fft2(z[0, ..., 0])
    f = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w))
    expected = 1 / np.maximum(f, 1 / max(size))
    assert_close(1 + ratio.imag, np.ones(size), "float64")
    assert_close(ratio.real / ratio.real[0, 1], expected / expected[0, 1], "float64")
    assert_close((ratio.real**2).mean(), 1.0, "float64")  # white noise keeps its variance


def test_colours_vary_as_photos_do():
    z = array(1, 200, 200, 3)
    x = np.asarray(synthesize(z, "pixels", True)).reshape(-1, 3)
    covariance = np.array(COLOURS) @ np.array(COLOURS).T
    expected = covariance / np.trace(covariance) * 3
    assert np.abs(np.cov(x.T) - expected).max() < 0.03  # 40,000 draws
    assert np.corrcoef(x.T).min() > 0.7  # bright pixels are bright in all of red, green and blue


def test_errors():
    with pytest.raises(ValueError, match="f: basis is one of pixels, fourier, got 'wavelets'"):
        check_basis("f", "wavelets", False, 3)
    with pytest.raises(ValueError, match="f: decorrelate needs the 3 channels RGB, got 1"):
        check_basis("f", "pixels", True, 1)
