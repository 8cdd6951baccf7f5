import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jaxtyping
import matplotlib as mpl
import pytest

mpl.use("agg")

collect_ignore_glob = ["golden/*.py"]  # they need PyTorch; their results are committed


@pytest.fixture(autouse=True, scope="module")
def small_memory():
    """Compiled programs go with the file that needed them; all of them would take gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture
def x64():
    """Double precision, as the comparisons with NumPy loops want it."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked():
    """No run-time shape checks: the function's own errors are what the users see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
