"""The other two ways to differentiate: by finite differences, and by formulas."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.autodiff.costs.flops import count_flops
from jaxcnn.plots import Panel

POINT = 1.5  # Squire & Trapp's


def curve(x: Any) -> Any:
    """exp(x) / (sin^3 x + cos^3 x), the function of Squire & Trapp (1998)."""
    return np.exp(x) / (np.sin(x) ** 3 + np.cos(x) ** 3)


METHODS: dict[str, Callable[[float], float]] = {
    "forward difference": lambda h: (curve(POINT + h) - curve(POINT)) / h,
    "central difference": lambda h: (curve(POINT + h) - curve(POINT - h)) / (2 * h),
    "complex step": lambda h: curve(POINT + 1j * h).imag / h,
}
SLOPES = {"forward difference": 1, "central difference": 2, "complex step": 2}


def steps(smoke: bool) -> tuple[dict[str, Any], list[Panel]]:
    """(e) The error of a difference quotient against its step, and its slope before rounding."""
    with jax.enable_x64(True):

        def of(x: Any) -> Any:
            return jnp.exp(x) / (jnp.sin(x) ** 3 + jnp.cos(x) ** 3)

        exact = float(jax.grad(of)(POINT))
    sizes = np.logspace(-16, -1, 31 if smoke else 121)
    errors = {
        name: np.array([abs(method(h) / exact - 1) for h in sizes])
        for name, method in METHODS.items()
    }
    rows = {}
    for name, error in errors.items():
        # Where the error is that of the truncated series: far from rounding, and small.
        fit = (sizes > 1e-4) & (sizes < 1e-2)
        slope = np.polyfit(np.log(sizes[fit]), np.log(error[fit]), 1)[0]
        assert abs(slope - SLOPES[name]) < 0.05, f"{name}: slope {slope}, not {SLOPES[name]}"
        rows[name] = {
            "slope": float(slope),
            "best_step": float(sizes[error.argmin()]),
            "best_relative_error": float(error.min()),
        }
    # On a logarithmic axis nothing is at zero; the complex step is exact in all digits there.
    lines = {
        name: (sizes.tolist(), np.maximum(error, 1e-17).tolist()) for name, error in errors.items()
    }
    guides = {
        "slope 1": ([1e-7, 3e-2], [3e-7 * 1.5, 3e-2 * 4.5]),
        "slope 2": ([3e-5, 3e-2], [9e-10 * 0.3, 9e-4 * 0.3]),
        "rounding of a float64": ([1e-9, 1e-16], [2.2e-16, 2.2e-16]),
    }
    panel = Panel(
        "Too large a step truncates, too small a step rounds",
        "step h",
        "relative error of the derivative",
        lines,
        "xy",
        guides,
    )
    return {"steps": rows}, [panel]


def logistic(x: Any, times: int, exp: Any) -> Any:
    """The logistic map l -> 4 l (1 - l), so many times; `exp` is for the other one."""
    for _ in range(times):
        x = 4 * x * (1 - x)
    return x


def sigmoids(x: Any, times: int, exp: Any) -> Any:
    """The logistic function of itself, so many times."""
    for _ in range(times):
        x = 1 / (1 + exp(-x))
    return x


def swell(smoke: bool) -> tuple[dict[str, Any], list[Panel]]:
    """(f) Operations of a derivative as a formula, with and without shared parts, as a jaxpr."""
    try:
        import sympy
    except ModuleNotFoundError:
        return {"swell_left_out": "SymPy is not installed: pip install 'jaxcnn[symbolic]'"}, []
    x = sympy.Symbol("x")
    depths = [1, 2] if smoke else [1, 2, 3, 4, 5, 6, 7, 8]
    rows: dict[str, dict[str, float]] = {}
    panels = []
    for title, f in (("Logistic map 4 l (1 - l)", logistic), ("Sigmoid of sigmoids", sigmoids)):
        counts: dict[str, list[float]] = {name: [] for name in COUNTED}
        for times in depths:
            formula = f(x, times, sympy.exp)
            slope = sympy.diff(formula, x)
            parts, (rest,) = sympy.cse(slope)
            numbers = (
                sympy.count_ops(formula),
                sympy.count_ops(slope),
                sum(sympy.count_ops(part) for _, part in parts) + sympy.count_ops(rest),
                count_flops(jax.grad(partial(f, times=times, exp=jnp.exp)), 0.2).total,
            )
            for name, number in zip(COUNTED, numbers, strict=True):
                counts[name].append(int(number))
        for name, found in counts.items():
            rows[f"{title}: {name}"] = {
                f"n={n}": count for n, count in zip(depths, found, strict=True)
            }
        lines = {name: (depths, found) for name, found in counts.items()}
        panels.append(Panel(title, "times nested", "arithmetic operations", lines, "y"))
    return {"swell": rows}, panels


COUNTED = (
    "the formula",
    "its derivative by SymPy",
    "the same, shared parts named",
    "jax.grad's jaxpr",
)
