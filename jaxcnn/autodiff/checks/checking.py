"""Gradients of both modes checked against differences and against each other."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.autodiff.checks.comparing import Mode
from jaxcnn.autodiff.checks.flattening import FlatFunction, flatten
from jaxcnn.autodiff.checks.locating import comparison
from jaxcnn.autodiff.checks.probing import FULL, on, output_weights, supports
from jaxcnn.autodiff.checks.reports import Comparison, GradientReport, Place
from jaxcnn.autodiff.checks.subjects import Subject, derivative_subject, function_subject
from jaxcnn.autodiff.jaxprs import NO_RULE

MODES = ("forward", "reverse")
COARSE = 1e-10
KEPT = 32  # directions along which the two modes are compared with each other


class Options(NamedTuple):
    """What holds for all comparisons of a check."""

    modes: tuple[str, ...]
    order: int
    directions: int
    rtol: float


def check_gradients(
    f: Callable[..., Any],
    *args: Any,
    modes: Sequence[str] = MODES,
    order: int = 2,
    dtype: Any = jnp.float64,
    rtol: float | None = None,
    directions: int = 64,
    seed: int = 0,
) -> GradientReport:
    r"""Whether JAX's derivatives of f at a point are those of its values.

    Forward mode's Jv and reverse mode's J'u are compared with central differences of f, whose
    steps and errors are estimated (`differences`): every entry of the Jacobian up to 256 inputs
    and 256 outputs. Beyond, along random directions of all inputs, of random blocks, of each
    array, and of single inputs: the first and last of each array, those with the largest
    gradient, and random ones. A failing direction is narrowed down to the element to blame. Both
    modes are held against each other: <Jv, u> = <v, J'u>. For order 2, x -> Jv and x -> J'u are
    checked in the same ways (forward over reverse and the three others), and so on.

    Args:
        f: function of pytrees; its derivatives by floating-point arrays and floats are checked.
        args: the point. Integers, bools, keys, strings and None are held fixed.
        modes: "forward", "reverse" or both.
        order: of the highest derivatives.
        dtype: what floating-point arguments are cast to, float64 under `jax.enable_x64`; None
            keeps theirs, and then says less: a difference has a fraction of the digits.
        rtol: relative difference that passes, besides the estimated error of the differences;
            by default eps^(2/5), 5e-7 in float64 and 2e-3 in float32.
        directions: how many blocks; an eighth as many directions move all inputs, and about as
            many move one. More find smaller errors, which matters where differences have few
            digits: 10 % in one of 16,384 inputs takes 512 in float32, in float64 the default.
        seed: of the random directions.

    Returns:
        the report: `.ok`, `.raise_if_failed()`, `.comparisons`, and a text by `str`. It is not
        ok where a derivative is wrong or not finite, where a mode raises, or where differences
        are too inexact to tell for more than half of a comparison.

    Raises:
        ValueError: unknown modes, order or directions below 1, rtol not positive, complex
            arguments, no floating-point number that goes in or comes out.

    Gradient:
        Where left and right slopes disagree, anything between them passes and is called a kink;
        at a jump one of them is infinite, so that much passes.

    Example:
        >>> import jax.numpy as jnp
        >>> check_gradients(lambda x, y: x * jnp.log(y), 3.0, 2.0).ok
        True
        >>> report = check_gradients(jnp.maximum, 1.0, 1.0, order=1)
        >>> report.ok, report.comparisons[0].verdict
        (True, 'kinks')

    """
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    _check_options(modes, order, directions, rtol)
    wide = dtype is not None and jnp.dtype(dtype) == np.float64
    # The choice of dtype lasts to the end of the check: f is traced many times.
    precision = jax.enable_x64(True) if wide else contextlib.nullcontext()
    with precision, np.errstate(all="ignore"):
        flat = flatten("check_gradients", f, args, dtype)
        rng = np.random.default_rng(seed)
        subject = function_subject(rng, flat)
        options = Options(modes, order, directions, rtol or subject.eps**0.4)
        found = list(_compare_orders(rng, subject, options))
    return GradientReport(_title(f, flat, options), tuple(found))


def _check_options(modes: tuple[str, ...], order: int, directions: int, rtol: float | None) -> None:
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f'check_gradients: modes takes "forward" and "reverse", got {mode!r}.')
    if not modes:
        raise ValueError("check_gradients: modes needs at least one mode, got none.")
    for name, value in (("order", order), ("directions", directions)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"check_gradients: {name} must be an integer >= 1, got {value!r}.")
    if rtol is not None and not rtol > 0:
        raise ValueError(f"check_gradients: rtol must be positive, got {rtol!r}.")


def _title(f: Callable[..., Any], flat: FlatFunction, options: Options) -> str:
    n, m = flat.inputs.size, flat.outputs.size
    dtypes = ", ".join(sorted({str(jnp.dtype(d)) for d in flat.inputs.dtypes}))
    full = n <= FULL and m <= FULL
    how = "the full Jacobian" if full else "random directions, blocks and single inputs"
    name = getattr(f, "__name__", type(f).__name__)
    return (
        f"{name}: {n} input{'s' * (n != 1)}, {m} output{'s' * (m != 1)}, {dtypes}, "
        f"rtol {options.rtol:.1e}; {how}"
    )


def _compare_orders(
    rng: np.random.Generator, subject: Subject, options: Options
) -> Iterable[Comparison]:
    """The comparisons of this function's derivatives, then those of its derivatives' ones."""
    found = _compare(rng, subject, options)
    yield from found
    if len(subject.taken) + 1 == options.order:
        return
    failed = {c.name for c in found if c.reason}
    for mode in options.modes:
        if _name(subject, mode) not in failed:
            derivative = derivative_subject(rng, subject, mode)
            yield from _compare_orders(rng, derivative, options)


def _name(subject: Subject, what: str) -> str:
    return " ".join([f"order {len(subject.taken) + 1},", *_over(what, subject.taken)])


def _over(what: str, taken: tuple[str, ...]) -> list[str]:
    return [what, *(f"over {mode}" for mode in taken)]


def _compare(rng: np.random.Generator, subject: Subject, options: Options) -> list[Comparison]:
    """Each mode's products against differences, along the same lines, then with each other."""
    n, m = subject.inputs.size, subject.outputs.size
    weights = output_weights(rng, m, options.directions)
    modes: dict[str, Mode] = {}
    refused: dict[str, Comparison] = {}
    for mode in options.modes:
        try:
            if mode == "forward":
                subject.product("forward", on(rng, np.arange(n), n))
            modes[mode] = Mode(subject, mode, weights, options.rtol)
        except NO_RULE as error:
            refused[mode] = Comparison(_name(subject, mode), reason=_reason(error, mode, options))
    large = modes["reverse"].gradients[0] if "reverse" in modes else None
    directions, pushed = [], []
    # The coarser the differences, the smaller the blocks in which one wrong number shows.
    blocks = options.directions * (1 if subject.eps < COARSE else 4)
    probes = supports(rng, subject.inputs, options.directions, blocks, large)
    for support in probes if modes else []:
        v = subject.direction(rng, support)
        line = subject.line(v)
        said = {mode: modes[mode].add(support, v, line) for mode in modes}
        if len(modes) == 2 and len(pushed) < KEPT:
            directions.append(v)
            pushed.append(said["forward"])
    found = [refused.get(m) or comparison(modes[m], _name(subject, m)) for m in options.modes]
    if pushed:
        gradients = modes["reverse"].gradients
        found.append(_products(subject, np.array(directions), np.array(pushed), weights, gradients))
    return found


def _reason(error: Exception, mode: str, options: Options) -> str:
    said = str(error).strip().splitlines()[0]
    others = tuple(other for other in options.modes if other != mode)
    rest = f" (modes={others} checks the rest)" if others else ""
    return f"{type(error).__name__}: {said}{rest}"


def _products(
    subject: Subject,
    directions: np.ndarray,
    pushed: np.ndarray,
    weights: np.ndarray,
    gradients: np.ndarray,
) -> Comparison:
    """<Jv, u> against <v, J'u>, up to the rounding of the sums' terms."""
    forward, reverse = pushed @ weights.T, directions @ gradients.T
    terms = np.abs(pushed) @ np.abs(weights).T + np.abs(directions) @ np.abs(gradients).T
    sizes = np.abs(subject.base)
    rounding = max(subject.eps, subject.noise.max() / sizes.max() if sizes.any() else 0)
    # Inside f terms may cancel that are as large as the largest here, as in normalizations.
    allowed = 64 * rounding * terms.max()
    if terms.max() < subject.eps:  # zeros up to rounding, as of a function that does not move
        allowed = subject.eps
    apart = np.abs(forward - reverse)
    wrong = ~(apart <= allowed)
    name = _name(subject, "<Jv, u> = <v, J'u>")
    difference = float(
        np.max(apart, initial=0, where=np.isfinite(apart)) / max(terms.max(), 1e-300)
    )
    found = Comparison(name, checked=wrong.size, wrong=int(wrong.sum()), difference=difference)
    if not wrong.any():
        return found
    worst = np.where(np.isfinite(apart), apart, np.inf)
    k, q = np.unravel_index(np.argmax(np.where(wrong, worst, -1)), wrong.shape)
    by_reverse, by_forward = float(reverse[k, q]), float(forward[k, q])
    status = "wrong" if np.isfinite(apart[k, q]) else "not finite"
    place = Place(status, "<u, f>", f"direction {k}", by_reverse, by_forward, float(allowed), 0, 0)
    return found._replace(worst=place)
