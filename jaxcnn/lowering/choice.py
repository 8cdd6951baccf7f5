"""Which form computes an operation on a CPU: a table, and the measurement behind each of its rows.

Elsewhere XLA's own kernels compute everything. Measured with float32 on 2 cores with AVX-512, in
milliseconds, jax 0.10.2 and 0.12.0 (`experiments/benchmark_operations.py`).
"""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxcnn.lowering.windows import Windows

XLA = "xla"  # the form that every operation has on every platform
UNROLLED = 121  # taps that one loop may spell out: more take too long to compile
SIDE_BY_SIDE = 32  # members that may be spelled out: likewise


class Case(NamedTuple):
    """What a choice may look at: all of it static."""

    how: Windows
    c_in: int  # channels of a group
    c_out: int  # of all groups
    images: int  # of each member, where there are members

    @property
    def taps(self) -> int:
        """How many a kernel has."""
        return math.prod(self.how.window)


class Rule(NamedTuple):
    """A form, the cases where it is chosen, and why."""

    form: str
    when: Callable[[Case], bool]
    why: str


_asked = jax.make_user_context(None)


def use(form: str) -> contextlib.AbstractContextManager[None]:
    """Ask for a form wherever it fits, instead of the table's choice.

    What is traced inside the context uses it, and so do its derivatives. "xla" leaves JAX's own
    operations alone, on every platform. "winograd2" and "winograd4", never chosen unasked, are for
    3x3 convolutions of 128 channels or more: on a CPU they take up to 1.6 and 2.2 times less time,
    with errors of up to 1e-6 and 2e-5 of the largest value (other forms: 4e-7 to 1e-6).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcnn.functional import conv
        >>> x, kernel = jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 1, 2))
        >>> with use("xla"):
        ...     y = jax.jit(lambda x: conv(x, kernel, groups=2))(x)

    Raises:
        ValueError: a form of no operation.
    """
    if form not in FORMS:
        raise ValueError(f"use: form must be one of {', '.join(FORMS)}, got {form!r}.")
    return _asked(form)


def asked() -> str | None:
    """The form that `use` asks for here."""
    return _asked.value


def _always(case: Case) -> bool:
    return True


def _dense(case: Case) -> bool:
    return case.how.groups == 1


def _smaller(case: Case) -> bool:
    """The image is smaller than the window."""
    pairs = zip(case.how.lengths, case.how.window, strict=True)
    return _dense(case) and any(n < k for n, k in pairs)


def _single(case: Case) -> bool:
    """Each output sees one channel."""
    return case.c_in == 1


def _shifts(case: Case) -> bool:
    """Single channels, and so few taps that one loop can spell them out."""
    return _single(case) and case.taps <= UNROLLED


def _pixels(case: Case) -> bool:
    return _dense(case) and case.taps == 1


def _strided(case: Case) -> bool:
    return _dense(case) and max(case.how.stride) > 1


def _phased(case: Case) -> bool:
    return _strided(case) and set(case.how.dilation) == {1}


def _plain(case: Case) -> bool:
    return set(case.how.stride) == set(case.how.dilation) == {1}


def _few(case: Case) -> bool:
    """So few input channels that a convolution towards them is mostly overhead."""
    return _dense(case) and case.c_in <= 4


def _narrow(case: Case) -> bool:
    """A row of x, with its few channels, is no more than a product's usual depth; nor is y's."""
    w_in, w_out = case.how.lengths[-1], case.how.outputs[-1]
    few = CONV["rows"](case) and case.c_in <= 8
    return few and w_in * case.c_in <= 128 and w_out * case.c_out <= 256


def _overlapping(case: Case) -> bool:
    """Neighbouring windows share pixels, or could with dilation."""
    axes = zip(case.how.window, case.how.stride, case.how.dilation, strict=True)
    return any(d * (k - 1) + 1 > s for k, s, d in axes)


def _winograd(case: Case) -> bool:
    """3x3 and so many channels that Winograd's filtering measures ahead.

    (8,28,28,256)->512: 71, by F(2x2) 44, by F(4x4) 32; with 64 channels neither is ahead.
    """
    few = min(case.c_in, case.c_out) < 128
    return _dense(case) and _plain(case) and case.how.window == (3, 3) and not few


# Where a form may be used: it gives the right result, and Winograd's, only asked for, is ahead.
CONV = {
    XLA: _always,
    "shifts": _single,
    "blocks": lambda case: case.how.groups > 1,
    "dot": _pixels,
    "patches": _dense,
    "rows": lambda case: _dense(case) and len(case.how.window) > 1,
    "winograd2": _winograd,
    "winograd4": _winograd,
}
POOL = {XLA: _always, "shifts": _always}
FITS: Mapping[str, Mapping[str, Callable[[Case], bool]]] = {
    "conv": CONV,
    "conv_by_x": {
        **CONV,
        "canonical": _dense,
        "depth": _phased,
    },
    "conv_by_kernel": {**CONV, "canonical": _dense},
    "max_pool": POOL,
    "max_pool_take": POOL,
    "max_pool_put": POOL,
    "sum_pool": POOL,
    "sum_pool_by_x": POOL,
}
FORMS = tuple(dict.fromkeys(form for fits in FITS.values() for form in fits))

DEPTHWISE = Rule(
    "shifts",
    lambda case: not _dense(case) and _shifts(case),
    "3x3 (16,56,56,96): 3 for 135; by kernel 8 for 51",
)
GROUPED = Rule(
    "blocks",
    lambda case: case.how.groups > 1 and case.c_in > 1,
    "3x3 in 32 groups (8,28,28,256): 7 for 18; by kernel 12 for 4000",
)
PIXELS = Rule("dot", _pixels, "1x1 (16,48,48,16)->96: by x 0.7 for 1.0; by kernel 1.6 for 3.7")
# XLA puts the channels last by itself, but not inside the body of a loop (`scan`, `lax.map`).
CANONICAL = Rule(
    "canonical", _dense, "in a loop, 3x3 (32,28,28,64): by x 22 for 118; by kernel 30 for 4900"
)

# The first rule that holds decides; XLA's form where none does.
RULES: Mapping[str, Sequence[Rule]] = {
    "conv": (
        DEPTHWISE,
        GROUPED,
        Rule(
            "dot",
            lambda case: _pixels(case) and _plain(case) and case.c_in >= 32,
            "1x1 (32,14,14,256)->64: 1.1 for 1.2",
        ),
        Rule("patches", _smaller, "3x3 on 2x2 (64,2,2,512): 6.6 for 528"),
        Rule("shifts", _shifts, "5x5 (128,28,28,1)->6: 0.4 for 5.2"),
    ),
    "conv_by_x": (
        DEPTHWISE,
        GROUPED,
        PIXELS,
        Rule("patches", _smaller, "3x3 on 2x2 (64,2,2,512): 7.3 for 530"),
        Rule(
            "depth",
            lambda case: _phased(case) and max(case.how.stride) > 2 and _overlapping(case),
            "11x11/4 (16,224,224,3)->64: 17 for 41",
        ),
        Rule("rows", _narrow, "5x5 (128,14,14,6)->16: 1.5 for 3.3; (128,28,28,1)->6: 1.2 for 7.1"),
        Rule("patches", _few, "7x7/2 (8,224,224,3)->64: 23 for 47 and 40"),
        Rule(
            "patches",
            lambda case: _strided(case) and not _overlapping(case),
            "2x2/2 (8,56,56,96)->192: 6.8 for 7.1",
        ),
        Rule(
            "patches",
            lambda case: _strided(case) and math.prod(case.how.outputs) <= 16,
            "3x3/2 (16,6,6,256)->512: 2.0 for 4.3",
        ),
        CANONICAL,
    ),
    "conv_by_kernel": (
        DEPTHWISE,
        GROUPED,
        PIXELS,
        Rule(
            "patches",
            lambda case: _few(case) and not _overlapping(case),
            "4x4/4 (8,224,224,3)->96: 3.6 for 5.2",
        ),
        CANONICAL,
    ),
    "max_pool": (Rule("shifts", _always, "3x3/1 (32,28,28,192): 3.6 for 11"),),
    "max_pool_take": (Rule("shifts", _always, "3x3/1 (32,28,28,192): 8"),),
    "max_pool_put": (Rule("shifts", _always, "3x3/2 (16,112,112,64): 12 for 110"),),
    "sum_pool": (Rule("shifts", _always, "3x3/1 (32,28,28,192): 4 for 8"),),
    "sum_pool_by_x": (Rule("shifts", _always, "3x3/1 (32,28,28,192): 4 for 8.5"),),
}


# Where members have images and a kernel of their own, as `vmap` over both arguments makes them.
MEMBERS = (
    Rule(
        "members",
        lambda case: case.images != 1 and (case.how.members or 0) <= SIDE_BY_SIDE,
        "a training step of 16 LeNets with 32 images each: 54 for 195 in groups",
    ),
    Rule("groups", _always, "gradients of LeNet by 32 single images: 9 for 17 one by one"),
)


def chosen(operation: str, avals: Sequence[Any], how: Windows) -> Rule:
    """The rule that decides on a CPU."""
    case = _case(operation, avals, how)
    if 0 in how.outputs or any(0 in aval.shape for aval in avals):
        return Rule(XLA, _always, "nothing to compute")
    fits = FITS[operation]
    if how.members is not None:
        return next(rule for rule in MEMBERS if rule.when(case))
    if how.form is not None and how.form in fits and fits[how.form](case):
        return Rule(how.form, fits[how.form], "`use` asks for it")
    default = Rule(XLA, _always, "no form measures ahead")
    return next((rule for rule in RULES[operation] if rule.when(case)), default)


def _case(operation: str, avals: Sequence[Any], how: Windows) -> Case:
    first, last = avals[0].shape, avals[-1].shape
    images = first[0 if how.members is None else 1]
    if operation == "conv_by_x":
        return Case(how, last[-2], last[-1], images)
    return Case(how, first[-1] // how.groups, last[-1], images)
