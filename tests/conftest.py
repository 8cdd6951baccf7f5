"""Set-up of the whole suite: where programs are compiled, how, and where they are kept.

Half of a cold run would be XLA optimizing programs that run once, so they are compiled without most
optimizations and kept in pytest's cache directory for the next run. Tests marked `optimized` are
compiled as users compile. JAX_DISABLE_MOST_OPTIMIZATIONS=false compiles all tests so, and
JAX_ENABLE_COMPILATION_CACHE=false keeps nothing.
"""

import os

# In the environment, so that they hold in the processes that tests start, too.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax
import jaxtyping
import matplotlib as mpl
import pytest

mpl.use("agg")

jaxtyped = jaxtyping.jaxtyped


def jaxtyped_outermost(*, typechecker):
    """jaxtyping's decorator; it takes milliseconds, and would take them whenever a function inside
    a function is defined: those stay as they are.
    """
    decorate = jaxtyped(typechecker=typechecker)
    return lambda f: f if "<locals>" in f.__qualname__ else decorate(f)


jaxtyping.jaxtyped = jaxtyped_outermost

collect_ignore_glob = ["golden/*.py"]  # they need PyTorch; their results are committed

CHEAP = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"].lower() in ("1", "true")


def pytest_configure(config):
    """Keep compiled programs in pytest's cache directory, where there is one."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or not hasattr(config, "cache"):
        return
    try:
        directory = str(config.cache.mkdir("programs"))
    except OSError:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = directory
    jax.config.update("jax_compilation_cache_dir", directory)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before the fixtures of the test: they compile as it does."""
    value = str(CHEAP and item.get_closest_marker("optimized") is None).lower()
    if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != value:
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = value
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", value == "true")


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


@pytest.fixture
def unpictured(monkeypatch):
    """Runs draw nothing."""
    monkeypatch.setattr("jaxcnn.plots.save", lambda figure, path: path)


@pytest.fixture(scope="module")
def two_fires():
    """SqueezeNet of two small Fires: each layer of a published model takes time to compile."""
    from jaxcnn.weights import translation  # not above: shapes are checked in later imports

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxcnn.models.squeezenet.SQUEEZED", (2, 4))
        translation._shapes.cache_clear()
        yield
    translation._shapes.cache_clear()
