"""Seeing inside a CNN, or any JAX function of images: methods, and tests of the methods.

A target is a function of images b h w c that gives one number for each, such as
`lambda x: model.apply(variables, x)[:, 285]`.

- `layers`: what a function computes inside, by the names of its modules
- `attribution`, `backprop`: which pixels speak for a score; `methods` has all of them by name
- `rectifiers`, `rewriting`: the ReLUs of a function, found in its jaxpr and replaced
- `filters`, `patches`: kernels as pictures; what in a data set activates a unit most
- `ascent`: images that a unit wants, dreams, inversions, the smallest change of class
- `checks`: whether attributions depend on what was learnt, and foretell what pixels do
"""

from jaxcnn.interpret.ascent.counterfactuals import Counterfactual, counterfactual
from jaxcnn.interpret.ascent.dreams import Dream, deep_dream
from jaxcnn.interpret.ascent.inversion import Inversion, invert
from jaxcnn.interpret.ascent.maximization import Ascent, maximize
from jaxcnn.interpret.ascent.objectives import channel_score, layer_score
from jaxcnn.interpret.ascent.regularizers import Regularizers, total_variation
from jaxcnn.interpret.attribution.class_activation import (
    GradCam,
    activation_maps,
    grad_cam,
    layer_gradient,
)
from jaxcnn.interpret.attribution.gradients import grad_times_input, saliency, smooth_grad
from jaxcnn.interpret.attribution.integrated import IntegratedGradients, integrated_gradients
from jaxcnn.interpret.attribution.occlusions import occlusion
from jaxcnn.interpret.backprop import deconvnet, guided_backprop
from jaxcnn.interpret.checks.perturbations import infidelity, max_sensitivity
from jaxcnn.interpret.checks.randomization import SanityCheck, sanity_check
from jaxcnn.interpret.checks.rankings import rank_agreement
from jaxcnn.interpret.checks.removal import DeletionInsertion, deletion_insertion
from jaxcnn.interpret.filters import filter_grid
from jaxcnn.interpret.layers import last_maps, layer_shapes
from jaxcnn.interpret.methods import methods
from jaxcnn.interpret.patches import Box, TopPatches, receptive_field, top_patches
from jaxcnn.interpret.rectifiers.counts import Rectifiers, count_rectifiers

__all__ = [
    "Ascent",
    "Box",
    "Counterfactual",
    "DeletionInsertion",
    "Dream",
    "GradCam",
    "IntegratedGradients",
    "Inversion",
    "Rectifiers",
    "Regularizers",
    "SanityCheck",
    "TopPatches",
    "activation_maps",
    "channel_score",
    "count_rectifiers",
    "counterfactual",
    "deconvnet",
    "deep_dream",
    "deletion_insertion",
    "filter_grid",
    "grad_cam",
    "grad_times_input",
    "guided_backprop",
    "infidelity",
    "integrated_gradients",
    "invert",
    "last_maps",
    "layer_gradient",
    "layer_score",
    "layer_shapes",
    "max_sensitivity",
    "maximize",
    "methods",
    "occlusion",
    "rank_agreement",
    "receptive_field",
    "saliency",
    "sanity_check",
    "smooth_grad",
    "top_patches",
    "total_variation",
]
