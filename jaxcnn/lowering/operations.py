"""How an operation of ours becomes one of JAX's: a primitive that chooses its form when lowered.

A closed family of primitives, each one's transposes being other members, is the one mechanism that
survives every transformation of JAX (jvp, vjp and their compositions to any order, vmap, remat,
export): `custom_vjp` loses forward mode, `custom_jvp` over `linear_call` loses vmap.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jax.sharding import AbstractMesh, PartitionSpec, use_abstract_mesh

from jaxcnn.lowering.choice import XLA, chosen
from jaxcnn.lowering.windows import Windows

Form = Callable[..., Array]  # (*arrays, how) -> array


class Operation(Primitive):
    """A primitive that knows the forms that compute it."""

    forms: Mapping[str, Form]

    @property
    def definition(self) -> Form:
        """What it computes in JAX's own operations, for those who read jaxprs."""
        return self.forms[XLA]


def operation(name: str, forms: Mapping[str, Form]) -> Operation:
    """A primitive that XLA's form computes, and on a CPU the form that `choice` names.

    Args:
        name: as jaxprs print it and as `choice.RULES` knows it.
        forms: by name, among them "xla"; all give the same result.
    """
    primitive = Operation(name)
    primitive.forms = forms

    @functools.cache
    def result(avals: tuple[Any, ...], how: Windows) -> Any:
        given = (
            jax.ShapeDtypeStruct(
                a.shape, a.dtype, sharding=a.sharding, manual_axis_type=a.manual_axis_type
            )
            for a in avals
        )
        (aval,) = jax.make_jaxpr(functools.partial(forms[XLA], how=how))(*given).out_avals
        return aval

    @functools.partial(jax.jit, static_argnames="how")
    def compiled(*args: Array, how: Windows) -> Array:
        return primitive.bind(*args, how=how)

    @primitive.def_impl
    def eager(*args: Array, how: Windows) -> Array:
        with jax.disable_jit(False):
            return compiled(*args, how=how)

    def lower(platform: str | None) -> Callable[..., Any]:
        def rule(context: Any, *args: Any, how: Windows) -> Any:
            form = chosen(name, context.avals_in, how).form if platform == "cpu" else XLA
            lowered = mlir.lower_fun(forms[form], multiple_results=False)
            if form == XLA:
                return lowered(context, *args, how=how)
            # Of bare arrays on no mesh: XLA itself partitions what comes of them.
            bare = [ShapedArray(a.shape, a.dtype) for a in context.avals_in]
            with use_abstract_mesh(AbstractMesh((), ())):
                return lowered(context.replace(avals_in=bare), *args, how=how)

        return rule

    primitive.def_abstract_eval(lambda *avals, how: result(avals, how))
    mlir.register_lowering(primitive, lower(None))
    mlir.register_lowering(primitive, lower("cpu"), platform="cpu")
    return primitive


def bind(primitive: Operation, *args: Array, how: Windows) -> Array:
    """Apply a primitive to arrays that vary over the same axes of a `shard_map`."""
    varying = [jax.typeof(a).manual_axis_type.varying for a in args]
    axes = frozenset().union(*varying)
    args = tuple(
        lax.pcast(a, tuple(axes - own), to="varying") if axes - own else a
        for a, own in zip(args, varying, strict=True)
    )
    return primitive.bind(*args, how=how)


def like(a: Array, shape: tuple[Any, ...], batch: bool = True) -> jax.ShapeDtypeStruct:
    """An array of another shape on the same mesh, sharded only over the batch if it has one."""
    aval: Any = jax.typeof(a)
    first = aval.sharding.spec[0] if batch else None
    spec = PartitionSpec(first, *[None] * (len(shape) - 1))
    return jax.ShapeDtypeStruct(
        shape,
        a.dtype,
        sharding=aval.sharding.update(spec=spec),
        manual_axis_type=aval.manual_axis_type,
    )


def fold_batch(
    primitive: Operation, args: Sequence[Array], dims: Sequence[int | None], *, how: Windows
) -> tuple[Array, int]:
    """Batching of what treats each image by itself: one more batch axis goes into the first."""
    (n,) = {a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None}
    full = [
        jnp.broadcast_to(a, (n, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
        for a, d in zip(args, dims, strict=True)
    ]
    b = full[0].shape[1]
    result = bind(primitive, *(a.reshape(n * b, *a.shape[2:]) for a in full), how=how)
    return result.reshape(n, b, *result.shape[1:]), 0
