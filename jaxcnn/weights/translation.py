"""PyTorch's states and our variables: the same numbers under two names and in two layouts.

The modules of `jaxcnn.models` bear the names of their source, so that a path translates word for
word, `layer1/0/conv1/kernel` <-> `layer1.0.conv1.weight`, and only the leaves have rules:

- a kernel moves its axes: (o, i, h, w) <-> (h, w, i, o), and (o, i) <-> (i, o);
- any other parameter of three axes, (c, h, w) <-> (h, w, c); of one axis, it stays;
- `mean` and `var` of the batch statistics are `running_mean` and `running_var`.

`num_batches_tracked`, which PyTorch counts and does not use, is skipped on the way in and 0 on the
way out.
"""

import functools
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from jaxcnn import models
from jaxcnn.weights.aliases import standard_names

T = TypeVar("T")
Variables = dict[str, Any]
Path = tuple[str, ...]  # collection, modules, leaf

LEAVES = {  # (collection, leaf) -> PyTorch's name
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
COUNTER = "num_batches_tracked"
UNUSUAL = 1_000_003  # classes: as long as no other axis


def from_torch(
    name: str,
    state: Mapping[str, np.ndarray],
    *,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
    key: Array | None = None,
    **options: Any,
) -> Variables:
    """A PyTorch state of that model as the variables of `models.create(name)`.

    Args:
        name: one of `models.names()`; those of torchvision and timm take their source's states.
        state: parameter name -> array, as `read` gives it.
        num_classes: of the model; by default the state's own. With another number the last layers
            are drawn afresh from `key`, and a warning names them; with 0 they are left out.
        input_shape: h, w, c of the images, where the parameters depend on it; by default the
            model's usual one.
        key: by default `jax.random.key(0)`.
        options: the other options of `models.create`. With `aux_logits=False` the state's auxiliary
            heads, where it has any, are left out.

    Returns:
        {"params": ..., "batch_stats": ...} of NumPy arrays in the state's dtypes.

    Raises:
        ValueError: parameters that are missing, unexpected or of another shape, each by name; a
            negative number of classes.

    Example:
        >>> import numpy as np
        >>> state = {"conv.weight": np.ones((3, 1, 3, 3)), "conv.bias": np.zeros(3)}
        >>> from_torch("tiny", state)["params"]["conv"]["kernel"].shape
        (3, 3, 1, 3)

    """
    state = {
        k: np.asarray(v) for k, v in standard_names(name, state).items() if not k.endswith(COUNTER)
    }
    if options.get("aux_logits") is False:
        state = _without_auxiliary(name, input_shape, options, state)
    paths, head = _paths(name, input_shape, options)
    if num_classes is not None and num_classes < 0:
        raise ValueError(f"from_torch: num_classes must be 0 or more, got {num_classes}.")
    if num_classes is None:
        own = [len(state[k]) for k in head if k in state and state[k].ndim]
        num_classes = own[0] if own else None
    wanted = _torch_shapes(paths, head, num_classes)
    if num_classes == 0:
        wanted = _without(wanted, head)
    found = {k: v.shape for k, v in state.items() if k in wanted or k not in head}
    redrawn = sorted(
        k
        for k in head
        if k in wanted
        and k in found
        and found[k][:1] != wanted[k][:1]
        and found[k][1:] == wanted[k][1:]
    )
    if faults := _differences(_without(wanted, redrawn), _without(found, redrawn)):
        raise ValueError(f"from_torch: the state does not fit {name}: {faults}.")
    flat = {paths[k][0]: _to_ours(paths[k][0], state[k]) for k in _without(wanted, redrawn)}
    if redrawn:
        warnings.warn(
            f"from_torch: the state is not of {num_classes} classes: new {', '.join(redrawn)}.",
            stacklevel=2,
        )
        model, x = _model(name, input_shape, {**options, "num_classes": num_classes})
        key = jax.random.key(0) if key is None else key
        wanted_paths = [paths[k][0] for k in redrawn]

        @jax.jit  # all else that is drawn is never computed
        def fresh(key: Array) -> dict[Path, Array]:
            drawn: Any = flatten_dict(model.init(key, jnp.zeros(x.shape)))
            return {path: drawn[path] for path in wanted_paths}

        flat |= {path: np.asarray(v) for path, v in fresh(key).items()}
    return unflatten_dict(flat)


def to_torch(
    name: str,
    variables: Mapping[str, Any],
    *,
    input_shape: tuple[int, int, int] | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Variables of `models.create(name)` as a PyTorch state; the inverse of `from_torch`.

    Args:
        name: one of `models.names()`.
        variables: {"params": ..., "batch_stats": ...}, with any number of classes.
        input_shape: as for `from_torch`.
        options: of `models.create`, without `num_classes`.

    Returns:
        parameter name -> array, for PyTorch's strict `load_state_dict`.

    Raises:
        ValueError: variables that are missing, unexpected or of another shape, each by name.
    """
    flat = {path: np.asarray(v) for path, v in flatten_dict(variables).items()}
    paths, head = _paths(name, input_shape, options)
    ends = [v for path, v in flat.items() if _torch_name(path) in head]  # none of 0 classes
    own = [v.shape[-1] for v in ends if v.ndim]
    wanted = {
        "/".join(path): (*shape[:-1], *own[:1]) if own and k in head else shape
        for k, (path, shape) in paths.items()
        if ends or k not in head
    }
    if faults := _differences(wanted, {"/".join(path): v.shape for path, v in flat.items()}):
        raise ValueError(f"to_torch: the variables do not fit {name}: {faults}.")
    state = {_torch_name(path): _to_torch(path, v) for path, v in flat.items()}
    return state | {k: np.zeros((), np.int64) for k in _counters(state)}


def torch_shapes(name: str, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Parameter name -> shape in the PyTorch state of a model, the one that `to_torch` gives."""
    shapes = _torch_shapes(*_paths(name, None, {}), num_classes)
    return shapes | dict.fromkeys(_counters(shapes), ())


def _counters(names: Iterable[str]) -> list[str]:
    """What PyTorch counts beside each running mean."""
    means = [k.rpartition(".") for k in names]
    return [f"{norm}.{COUNTER}" for norm, _, leaf in means if leaf == "running_mean"]


def _without_auxiliary(
    name: str,
    input_shape: tuple[int, int, int] | None,
    options: Mapping[str, Any],
    state: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """A state for the model without auxiliary heads: published files have them."""
    whole, _ = _paths(name, input_shape, {**options, "aux_logits": True})
    rest, _ = _paths(name, input_shape, options)
    return {k: v for k, v in state.items() if k in rest or k not in whole}


def classes(
    name: str,
    variables: Mapping[str, Any],
    *,
    input_shape: tuple[int, int, int] | None = None,
    **options: Any,
) -> int:
    """How many classes the variables of a model are for."""
    _, head = _paths(name, input_shape, options)
    flat: dict[Path, Any] = flatten_dict(variables)
    return next((v.shape[-1] for path, v in flat.items() if _torch_name(path) in head), 0)


def _paths(
    name: str, input_shape: tuple[int, int, int] | None, options: Mapping[str, Any]
) -> tuple[Mapping[str, tuple[Path, tuple[int, ...]]], set[str]]:
    """PyTorch's name of each variable -> its path and shape here; and the names of the head.

    The head is what has an axis of classes.
    """
    shapes = _shapes(*_model(name, input_shape, {**options, "num_classes": UNUSUAL}))
    return shapes, {k for k, (_, shape) in shapes.items() if UNUSUAL in shape}


@functools.lru_cache(maxsize=64)  # tracing a large net takes seconds
def _shapes(
    model: nn.Module, x: jax.ShapeDtypeStruct
) -> Mapping[str, tuple[Path, tuple[int, ...]]]:
    """PyTorch's name of each variable -> its path and shape here."""
    leaves: dict[Path, Any] = flatten_dict(jax.eval_shape(model.init, jax.random.key(0), x))
    return {_torch_name(path): (path, v.shape) for path, v in leaves.items()}


def _model(
    name: str, input_shape: tuple[int, int, int] | None, options: Mapping[str, Any]
) -> tuple[nn.Module, jax.ShapeDtypeStruct]:
    shape = input_shape or models.entry(name).input_shape
    return models.create(name, **options), jax.ShapeDtypeStruct((1, *shape), jnp.float32)


def _torch_name(path: Path) -> str:
    collection, *modules, leaf = path
    return ".".join((*modules, LEAVES.get((collection, leaf), leaf)))


def _axes(path: Path, ndim: int) -> tuple[int, ...]:
    """For each axis here, which one it is in PyTorch."""
    if path[-1] == "kernel":
        return (*range(2, ndim), 1, 0)
    return (1, 2, 0) if ndim == 3 else tuple(range(ndim))


def _to_ours(path: Path, value: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(value.transpose(_axes(path, value.ndim)))


def _to_torch(path: Path, value: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(value.transpose(np.argsort(_axes(path, value.ndim))))


def _torch_shapes(
    paths: Mapping[str, tuple[Path, tuple[int, ...]]], head: Collection[str], classes: int | None
) -> dict[str, tuple[int, ...]]:
    """The shapes of `_paths` in PyTorch's layout, the head's for so many classes."""
    shapes = {
        k: tuple(shape[a] for a in np.argsort(_axes(path, len(shape))))
        for k, (path, shape) in paths.items()
    }
    return shapes if classes is None else shapes | {k: (classes, *shapes[k][1:]) for k in head}


def _without(table: Mapping[str, T], names: Collection[str]) -> dict[str, T]:
    return {k: v for k, v in table.items() if k not in names}


def _differences(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    """What is missing, unexpected or of another shape, in words; empty where nothing is."""
    missing = [k for k in wanted if k not in found]
    unexpected = [k for k in found if k not in wanted]
    other = [f"{k} {found[k]} instead of {s}" for k, s in wanted.items() if found.get(k, s) != s]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": other}
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names)
