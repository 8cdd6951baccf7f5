import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from helpers import array, assert_close
from jaxcnn import lowering
from jaxcnn.functional import conv


def test_compiler_options_compile():
    x, kernel = array(2, 8, 8, 4), array(3, 3, 4, 8)
    options = lowering.compiler_options()
    assert options
    actual = jax.jit(conv, compiler_options=options)(x, kernel)
    assert_close(actual, conv(x, kernel))


@pytest.mark.parametrize(("version", "onednn"), [((0, 11, 9), None), ((0, 12, 0), True)])
def test_compiler_options_by_version(version, onednn, monkeypatch):
    monkeypatch.setattr(jax, "__version_info__", version)
    assert lowering.compiler_options().get("xla_cpu_use_onednn") is onednn


def test_compiler_options_elsewhere(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert lowering.compiler_options() == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_keep_memory_in_a_process_of_its_own():
    code = (
        "from jaxcnn import lowering\n"
        "import jax.numpy as jnp\n"
        "print(lowering.keep_memory(), float(jnp.ones((1 << 22,)).sum()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["True", str(float(1 << 22))], done.stderr


def test_keep_memory_where_there_is_no_glibc(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert lowering.keep_memory() is False
    assert jnp.ones(()).item() == 1


SECOND = """
import jax, jax.numpy as jnp
from jaxcnn.lowering import keep_programs
print(keep_programs())
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
seen = []
jax.monitoring.register_event_listener(lambda name, **_: seen.append(name))
jax.jit(lambda x: jnp.sin(x) + 1)(1.0)
print("/jax/compilation_cache/cache_hits" in seen)
"""


@pytest.mark.parametrize("off", ["", "JAX_ENABLE_COMPILATION_CACHE", "JAX_COMPILATION_CACHE_DIR"])
def test_programs_are_kept_for_the_next_process(tmp_path, off):
    """The second process reads what the first compiled, unless a variable says otherwise."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path)} | ({off: "false"} if off else {})
    kept = tmp_path / "jaxcnn" / "programs"

    def run():
        command = [sys.executable, "-c", SECOND]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    if off:
        assert run()[0] == "None"
        assert not kept.exists()
    else:
        assert run() == [str(kept), "False"]
        assert run() == [str(kept), "True"]
