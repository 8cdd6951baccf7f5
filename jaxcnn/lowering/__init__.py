"""How operations are computed on a platform: fast forms on a CPU, XLA's own kernels elsewhere.

`conv_general_dilated` and `reduce_window` take the arguments of `jax.lax`'s and give its results,
under every transformation of JAX; which form computes them is chosen when a program is compiled, by
platform and shape (`explain`, `use`).
"""

from jaxcnn.lowering.bilinear import channels_last
from jaxcnn.lowering.choice import use
from jaxcnn.lowering.convolution import conv_general_dilated, conv_transpose
from jaxcnn.lowering.explanation import Decision, explain
from jaxcnn.lowering.options import compiler_options, keep_memory, keep_programs
from jaxcnn.lowering.pooling import reduce_window

__all__ = [
    "Decision",
    "channels_last",
    "compiler_options",
    "conv_general_dilated",
    "conv_transpose",
    "explain",
    "keep_memory",
    "keep_programs",
    "reduce_window",
    "use",
]
