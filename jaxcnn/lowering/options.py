"""Settings of XLA and of the memory that make programs faster on a CPU, for those who ask."""

import ctypes
import os
import sys
import warnings
from pathlib import Path

import jax

# glibc's mallopt(3): what they are, and how its header numbers them.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8


def compiler_options() -> dict[str, str | bool]:
    """XLA's options that measure ahead on this platform, for `jax.jit(compiler_options=...)`.

    On a CPU they leave convolutions to XLA's own kernels instead of the YNN library's (gradients of
    3x3 kernels take 1.2 to 2.3 times less time) and, from jax 0.12 on, to the oneDNN library where
    it serves them (whole training steps take up to 1.14 times less). `jax.jit` takes options only
    where it is outermost: not inside another `jit`, a `scan` or a `grad`.

    Returns:
        no options on a GPU or TPU.

    Example:
        >>> import jax
        >>> step = jax.jit(lambda x: x + 1, compiler_options=compiler_options())
        >>> int(step(1))
        2
    """
    if jax.default_backend() != "cpu":
        return {}
    kinds = ("DOT", "REDUCE", "INDIVIDUAL_DOT")
    options: dict[str, str | bool] = {
        "xla_cpu_experimental_ynn_fusion_type": ",".join(f"LIBRARY_FUSION_TYPE_{k}" for k in kinds)
    }
    if jax.__version_info__ >= (0, 12):  # XLA rewrites nothing for it before
        options |= dict.fromkeys(
            ("xla_cpu_use_onednn", "xla_cpu_experimental_onednn_custom_call"), True
        )
    return options


def keep_programs() -> Path | None:
    """Keep compiled programs on the disk, so that the next process need not compile them again.

    They lie in $XDG_CACHE_HOME/jaxcnn/programs (by default ~/.cache), those that took more than
    half a second to compile, and at most 4 GB of them: the longest unused ones go first. Programs
    that call oneDNN (on a CPU, from jax 0.12 on) cannot be kept; XLA compiles them each time.

    Returns:
        the directory; None where $JAX_COMPILATION_CACHE_DIR or $JAX_ENABLE_COMPILATION_CACHE say
        otherwise, or where it cannot be written.
    """
    if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(os.environ):
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "jaxcnn" / "programs"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_compilation_cache_max_size", 4 << 30)
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")
    return directory


def keep_memory() -> bool:
    """Let this process keep the memory that it frees, so that large arrays cost no page faults.

    By default glibc returns the memory of each large array to the system and takes it anew, page
    by page, in every step. To be called before the first computation; it holds for all of the
    process, and it never gives memory back.

    Returns:
        whether it holds: only with glibc's allocator (Linux).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {MMAP_THRESHOLD: 1 << 30, TRIM_THRESHOLD: (1 << 31) - 1, ARENA_MAX: 1}
    done = [mallopt(name, value) for name, value in settings.items()]
    return all(done)
