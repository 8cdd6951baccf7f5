"""What one run of a primitive costs in floating-point operations: tables, and a rule a line."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

Rule = Callable[[JaxprEqn], int]

# One for each number that comes out: arithmetic and transcendental functions alike.
ELEMENTWISE = """
    abs acos acosh add add_any asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp cos
    cosh digamma div erf erf_inv erfc exp exp2 expm1 floor igamma igamma_grad_a igammac lgamma log
    log1p logistic max min mul neg nextafter polygamma pow regularized_incomplete_beta rem round
    rsqrt sign sin sinh sqrt square sub tan tanh zeta
""".split()

# Nothing: moving, choosing and converting numbers, drawing random bits, talking between devices.
FREE = frozenset(
    """
    after_all all_gather all_gather_invariant all_to_all argmax argmin axis_index
    bitcast_convert_type broadcast_in_dim complex concatenate conj convert_element_type copy
    copy_p create_token debug_callback device_put dynamic_slice dynamic_update_slice empty empty2
    gather imag iota name opt_barrier optimization_barrier pad pbroadcast pcast pmax pmin ppermute
    psum psum_invariant psum_scatter pvary random_bits random_clone random_fold_in random_seed
    random_split random_unwrap random_wrap real reduce_precision reduce_scatter reshape reshard
    rev rng_bit_generator rng_uniform scatter select_n sharding_constraint slice sort split
    squeeze stop_gradient threefry2x32 top_k transpose
    """.split()
)


def shape(variable: Any) -> tuple[int, ...]:
    """The shape of an equation's input or output."""
    return variable.aval.shape


def size(variable: Any) -> int:
    """How many numbers an equation's input or output holds."""
    return math.prod(shape(variable))


def floating(variable: Any) -> bool:
    """Whether an output holds floating-point numbers; work on integers and truths is free."""
    return jnp.issubdtype(variable.aval.dtype, jnp.inexact)


def dot_products(equation: JaxprEqn) -> int:
    """Multiply-adds of a dot product: one per output number and contracted pair."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = shape(equation.invars[0])
    return size(equation.outvars[0]) * math.prod(left[axis] for axis in contracted)


def conv_products(equation: JaxprEqn) -> int:
    """Multiply-adds of a convolution: b prod(out) c_out prod(window) c_in / groups."""
    x, kernel = (shape(variable) for variable in equation.invars)
    out = shape(equation.outvars[0])
    numbers = equation.params["dimension_numbers"]
    out_batch, out_channels, *out_axes = numbers.out_spec
    _, in_channels, *window_axes = numbers.rhs_spec
    cost = out[out_batch] * out[out_channels] * kernel[in_channels]
    spatial = zip(
        numbers.lhs_spec[2:], window_axes, out_axes, equation.params["lhs_dilation"], strict=True
    )
    for x_axis, window_axis, out_axis, spread in spatial:
        # With zeros inserted (spread > 1) each tap meets each true pixel of x once.
        pixels = out[out_axis] if spread == 1 else x[x_axis]
        cost *= pixels * kernel[window_axis]
    return cost


def _power(equation: JaxprEqn) -> int:
    """By squaring: x^5 is x (x^2)^2, three multiplications; a negative power divides once more."""
    y = equation.params["y"]
    multiplications = max(abs(y).bit_length() + abs(y).bit_count() - 2, 0)
    return size(equation.outvars[0]) * (multiplications + (y < 0))


def _reduction(equation: JaxprEqn) -> int:
    """To combine n numbers into one takes n - 1."""
    return size(equation.invars[0]) - size(equation.outvars[0])


def _windows(equation: JaxprEqn) -> int:
    taps = math.prod(equation.params["window_dimensions"])
    return size(equation.outvars[0]) * (taps - 1)


def _selected(equation: JaxprEqn) -> int:
    """Each window finds its largest (taps - 1) and adds one number where that was."""
    return size(equation.invars[0]) * math.prod(equation.params["window_dimensions"])


def _cumulation(equation: JaxprEqn) -> int:
    lines = size(equation.outvars[0])
    return lines - lines // max(shape(equation.outvars[0])[equation.params["axis"]], 1)


def _scatter(equation: JaxprEqn) -> int:
    return size(equation.invars[2])


def _matrices(equation: JaxprEqn) -> tuple[int, int, int]:
    """How many matrices the first input holds, their rows and their columns."""
    *stack, rows, columns = shape(equation.invars[0])
    return math.prod(stack), rows, columns


def _cholesky(equation: JaxprEqn) -> int:
    stack, n, _ = _matrices(equation)
    return stack * n**3 // 3


def _eliminated(equation: JaxprEqn) -> int:
    """LU: m n^2 - n^3 / 3 for m >= n."""
    stack, rows, columns = _matrices(equation)
    m, n = max(rows, columns), min(rows, columns)
    return stack * (m * n**2 - n**3 // 3)


def _reflected(equation: JaxprEqn) -> int:
    """QR by Householder's reflections: 2 m n^2 - 2 n^3 / 3 for m >= n."""
    return 2 * _eliminated(equation)


def _triangular(equation: JaxprEqn) -> int:
    """n^2 for each right-hand side."""
    sides = size(equation.outvars[0])
    return sides * shape(equation.invars[0])[-1]


def _fourier(equation: JaxprEqn) -> int:
    """5 n log2 n for each complex transform of length n, half of it for a real one."""
    n = math.prod(equation.params["fft_lengths"])
    per_number = 2.5 if equation.params["fft_type"].name in ("RFFT", "IRFFT") else 5
    numbers = max(size(equation.invars[0]), size(equation.outvars[0]))
    return round(per_number * numbers * math.log2(n)) if n else 0


def _if_floating(rule: Rule) -> Rule:
    return lambda equation: rule(equation) if floating(equation.outvars[0]) else 0


PRODUCTS: dict[str, Rule] = {
    "dot_general": dot_products,
    "conv_general_dilated": conv_products,
}
OTHERS: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, lambda equation: size(equation.outvars[0])),
    "integer_pow": _power,
    **dict.fromkeys(["reduce_sum", "reduce_max", "reduce_min", "reduce_prod"], _reduction),
    **dict.fromkeys(["reduce_window_sum", "reduce_window_max", "reduce_window_min"], _windows),
    **dict.fromkeys(["select_and_scatter_add", "select_and_gather_add"], _selected),
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"], _cumulation),
    **dict.fromkeys(
        "scatter-add scatter_add scatter_sub scatter-sub scatter_mul scatter-mul scatter_min "
        "scatter-min scatter_max scatter-max".split(),
        _scatter,
    ),
    "cholesky": _cholesky,
    "lu": _eliminated,
    **dict.fromkeys(["qr", "geqrf", "householder_product"], _reflected),
    "triangular_solve": _triangular,
    "fft": _fourier,
}
# These carry the function that combines two numbers: how often it runs.
COMBINATIONS: dict[str, Rule] = {"reduce": _reduction, "reduce_window": _windows}
FLOPS: dict[str, Rule] = {
    **{name: lambda e, rule=rule: 2 * rule(e) for name, rule in PRODUCTS.items()},
    **{name: _if_floating(rule) for name, rule in OTHERS.items()},
}
