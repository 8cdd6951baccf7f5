"""Does an attribution notice that the network's layers are replaced by untrained ones?"""

import difflib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial
from jaxtyping import Bool, Float

from jaxcnn.interpret.checks.rankings import rank_agreement
from jaxcnn.interpret.layers import layer_shapes
from jaxcnn.interpret.targets import Target, argument, images


class SanityCheck(NamedTuple):
    """How much of an attribution is left when layers are randomised."""

    layers: tuple[str, ...]
    """In the order in which they were replaced."""
    correlations: Float[Array, "layers b"]
    """Rank agreement with the trained network's attribution, after each replacement."""


def sanity_check(
    method: Callable[[Target, Array], Array],
    f: Callable[[Any, Array], Array],
    params: Any,
    x: Float[Array, "b h w c"],
    *,
    fresh: Any,
    layers: Sequence[str] | None = None,
    independent: bool = False,
    absolute: bool = False,
) -> SanityCheck:
    r"""Rank agreement of attributions before and after layers get other parameters.

    Cascading randomisation: layer after layer, the one nearest to the output first, takes its
    parameters from `fresh` and keeps them. An attribution that still looks the same shows the
    image, not what the network learned. All stages run in one compiled program, one by one.

    Args:
        method: (target, images) -> attributions, such as `saliency`; the same object finds its
            program again.
        f: (params, images) -> one number for each image.
        params: the trained parameters, a pytree.
        x: the images.
        fresh: a pytree like params, such as `model.init` with another key gives.
        layers: names of layers in the order of replacement: paths in params such as "dense1" or
            "stage1/conv", each of which means all parameters below it. By default all at the top
            of params, the last in the flow first, as found by `jaxcnn.interpret.layers`.
        independent: replace each layer alone, with all the others trained.
        absolute: rank magnitudes.

    Returns:
        the layers, and an agreement of -1 to 1 for each of them and each image.

    Raises:
        ValueError: fresh is not like params, no such layer, or an order that is not to be found.

    Example:
        >>> f = lambda params, x: params["scale"] * (params["w"] * x[:, :, 0, 0]).sum(1)
        >>> method = lambda f, x: jax.grad(lambda x: f(x).sum())(x)  # scale w
        >>> params = {"scale": 1.0, "w": jnp.array([1.0, 2.0, 4.0])}
        >>> fresh = {"scale": -1.0, "w": jnp.array([3.0, 2.0, 1.0])}
        >>> x = jnp.ones((1, 3, 1, 1))
        >>> sanity_check(method, f, params, x, fresh=fresh, layers=["scale", "w"]).correlations
        Array([[-1.],
               [ 1.]], dtype=float32)

    Reference:
        Adebayo, Gilmer, Muelly, Goodfellow, Hardt & Kim (2018), Sanity checks for saliency maps,
        sections 3.1 and 4, https://arxiv.org/abs/1810.03292.
    """
    x = images("sanity_check", x)
    params, fresh = jax.tree.map(jnp.asarray, (params, fresh))
    found = [jax.tree.map(lambda a: (a.shape, str(a.dtype)), tree) for tree in (params, fresh)]
    if found[0] != found[1]:
        raise ValueError(
            "sanity_check: fresh needs the structure, shapes and dtypes of params, "
            f"{found[0]}, got {found[1]}."
        )
    paths = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    chosen = tuple(_flow(f, params, x, paths) if layers is None else layers)
    # A row for each stage, the first of them the trained network; a column for each leaf.
    replaced = [[False] * len(paths)]
    for layer in chosen:
        own = [_below(path, layer) for path in paths]
        if not any(own):
            raise ValueError(_unknown(layer, paths))
        before = [False] * len(paths) if independent else replaced[-1]
        replaced.append([a or b for a, b in zip(before, own, strict=True)])
    found = _stages(argument(method), argument(f), params, fresh, x, jnp.array(replaced), absolute)
    return SanityCheck(chosen, found[1:])


@jax.jit
def _stages(
    method: Callable[[Target, Array], Array],
    f: Callable[[Any, Array], Array],
    params: Any,
    fresh: Any,
    x: Array,
    replaced: Bool[Array, "stages leaves"],
    absolute: bool | Array,
) -> Array:
    def attribution(row: Array) -> Array:
        flags = jax.tree.unflatten(jax.tree.structure(params), list(row))
        mixed = jax.tree.map(jnp.where, flags, fresh, params)
        y = method(Partial(f, mixed), x)
        return jnp.where(absolute, jnp.abs(y), y)

    def stage(first: Array, row: Array) -> tuple[Array, Array]:
        # The first row takes part as the others do: the method is compiled once.
        now = attribution(row)
        first = jnp.where(row.any(), first, now)
        return first, rank_agreement(first, now)

    shape = jax.eval_shape(attribution, replaced[0])
    return lax.scan(stage, jnp.zeros(shape.shape, shape.dtype), replaced)[1]


def _flow(
    f: Callable[[Any, Array], Array], params: Any, x: Array, paths: Sequence[str]
) -> list[str]:
    """The top names of params, the last in the flow of f first."""
    names = dict.fromkeys(path.split("/")[0] for path in paths)
    flow = list(layer_shapes(Partial(f, params), x))
    place = {
        name: max((i for i, layer in enumerate(flow) if _below(layer, name)), default=-1)
        for name in names
    }
    lost = [name for name in names if place[name] < 0]
    if lost:
        raise ValueError(
            f"sanity_check: pass layers, for the places of {', '.join(lost)} in f are not to be "
            f"found; named layers of f: {', '.join(flow) or 'none'}."
        )
    return sorted(names, key=place.__getitem__, reverse=True)


def _below(path: str, layer: str) -> bool:
    return path == layer or path.startswith(layer + "/")


def _unknown(layer: str, paths: Sequence[str]) -> str:
    names = dict.fromkeys(path.split("/")[0] for path in paths)
    close = difflib.get_close_matches(layer, [*names, *paths], n=1)
    guess = f"; did you mean {close[0]!r}?" if close else "."
    return f"sanity_check: params have no layer {layer!r}{guess} At the top: {', '.join(names)}."
