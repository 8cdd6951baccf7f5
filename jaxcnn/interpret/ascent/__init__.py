"""Images made by gradients: ascent, dreams, inversion, and the smallest change of a class."""

from jaxcnn.interpret.ascent.counterfactuals import Counterfactual, counterfactual
from jaxcnn.interpret.ascent.dreams import Dream, deep_dream
from jaxcnn.interpret.ascent.inversion import Inversion, invert
from jaxcnn.interpret.ascent.maximization import Ascent, maximize
from jaxcnn.interpret.ascent.objectives import channel_score, layer_score
from jaxcnn.interpret.ascent.regularizers import Regularizers, total_variation

__all__ = [
    "Ascent",
    "Counterfactual",
    "Dream",
    "Inversion",
    "Regularizers",
    "channel_score",
    "counterfactual",
    "deep_dream",
    "invert",
    "layer_score",
    "maximize",
    "total_variation",
]
