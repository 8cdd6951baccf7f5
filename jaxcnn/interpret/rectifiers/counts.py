"""How many rectifiers a function has."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxcnn.interpret.rectifiers.matching import find
from jaxcnn.interpret.rewriting import unshared


class Rectifiers(NamedTuple):
    """How many rectifiers there are, by kind.

    Args:
        relu: max(x, 0).
        relu6: min(max(x, 0), 6).
        leaky_relu: x where positive, a x elsewhere.
    """

    relu: int
    relu6: int
    leaky_relu: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def count_rectifiers(f: Callable[[Any], Any], x: Any) -> Rectifiers:
    """The ReLUs between x and f(x), in whatever way they are written.

    Those of a loop's body count once, those of branches in each branch. What `guided_backprop`
    and `deconvnet` change is exactly these; `rectifiers.spellings` lists the ways to write them.

    Args:
        f: any function of x; it is traced and not run.
        x: an array or its shape.

    Example:
        >>> import jax.numpy as jnp
        >>> count_rectifiers(lambda x: jnp.where(x > 0, x, 0) + jax.nn.relu6(x), jnp.ones(3))
        Rectifiers(relu=1, relu6=1, leaky_relu=0)
    """
    counts = Counter(found.kind for found in find(unshared(jax.make_jaxpr(f)(x))))
    return Rectifiers(**{kind: counts[kind] for kind in Rectifiers._fields})
