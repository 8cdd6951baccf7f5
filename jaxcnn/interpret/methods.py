"""The attribution methods by name, for those who compare them."""

from collections.abc import Callable, Mapping
from functools import cache

import jax
import jax.numpy as jnp
from jax import Array

from jaxcnn.interpret.attribution.class_activation import grad_cam
from jaxcnn.interpret.attribution.gradients import grad_times_input, saliency, smooth_grad
from jaxcnn.interpret.attribution.integrated import integrated_gradients
from jaxcnn.interpret.attribution.occlusions import occlusion
from jaxcnn.interpret.backprop import deconvnet, guided_backprop
from jaxcnn.interpret.targets import Target

Method = Callable[[Target, Array], Array]  # (f, images b h w c) -> attributions of that shape


@cache
def methods(*, layer: str, window: int, seed: int = 0) -> Mapping[str, Method]:
    """Every attribution as a function of a target and images, under its function's name.

    Args:
        layer: of feature maps, for `grad_cam`; `last_maps` finds the usual one.
        window: of `occlusion`, pixels; it moves by half of that.
        seed: of `smooth_grad`'s noise.

    Returns:
        name -> method. The same options give the same functions, so that what was compiled for
        them is found again. Grad-CAM's map is shared out evenly to the channels.
    """
    key = jax.random.key(seed)

    def maps(f: Target, x: Array) -> Array:
        share = grad_cam(f, x, layer).raw[..., None] / x.shape[-1]
        return jnp.broadcast_to(share, x.shape)

    return {
        "saliency": saliency,
        "grad_times_input": grad_times_input,
        "smooth_grad": lambda f, x: smooth_grad(f, x, key),
        "integrated_gradients": lambda f, x: integrated_gradients(f, x).attribution,
        "occlusion": lambda f, x: occlusion(f, x, window=window, stride=max(window // 2, 1)),
        "guided_backprop": guided_backprop,
        "deconvnet": deconvnet,
        "grad_cam": maps,
    }
