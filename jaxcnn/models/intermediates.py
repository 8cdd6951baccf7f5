"""What flows through a model: the output of every module inside it, by name."""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Container
from typing import Any

from flax import linen as nn
from flax.linen.module import InterceptorContext
from jax import Array


def activations(
    model: nn.Module, variables: Any, x: Array, *, train: bool = False, rngs: Any = None
) -> OrderedDict[str, Array]:
    """Every named intermediate of a model, in the order of the flow.

    Args:
        model: a Linen module.
        variables: what `model.init` returned.
        x: images, b h w c.
        train: passed to the model.
        rngs: keys by name, such as {"dropout": key}, where training needs them.

    Returns:
        name -> output of that module; "block/conv" for a module inside a module, and
        "name:2" for the second call of the same one. It is an `OrderedDict`, whose order
        survives `jax.jit`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcnn.models import create
        >>> x = jnp.ones((1, 3, 3, 1))
        >>> model = create("tiny")
        >>> list(activations(model, model.init(jax.random.key(0), x), x))
        ['conv', 'logits']
    """
    outputs: OrderedDict[str, Array] = OrderedDict()

    def record(module: nn.Module, args: Any, y: Any) -> None:
        outputs[unused_name("/".join(module.path), outputs)] = y

    with nn.intercept_methods(watch(record)):
        model.apply(variables, x, train=train, rngs=rngs, mutable=["batch_stats"])
    return outputs


def unused_name(path: str, taken: Container[str]) -> str:
    """A module's path; "path:2" for its second call, and so on."""
    repeated = (f"{path}:{calls}" for calls in itertools.count(2))
    return next(name for name in itertools.chain([path], repeated) if name not in taken)


def watch(record: Callable[[nn.Module, Any, Any], None]) -> Callable[..., Any]:
    """An interceptor that hands (module, arguments, output) of every inner call to `record`."""

    def interceptor(
        call: Callable[..., Any], args: Any, options: Any, context: InterceptorContext
    ) -> Any:
        y = call(*args, **options)
        if context.method_name == "__call__" and context.module.path:
            record(context.module, args, y)
        return y

    return interceptor
