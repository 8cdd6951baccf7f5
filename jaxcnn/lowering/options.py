"""Settings of XLA and of the memory that make programs faster on a CPU, for those who ask."""

import ctypes
import sys

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
