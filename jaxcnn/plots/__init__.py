"""Arrays to matplotlib figures: no global state, no display needed, nothing left open."""

from jaxcnn.plots.activations import activation_sheet
from jaxcnn.plots.attributions import attribution_panels
from jaxcnn.plots.confusion import confusion_matrix
from jaxcnn.plots.curves import loss_curves
from jaxcnn.plots.filters import filter_grid
from jaxcnn.plots.images import image_sheet
from jaxcnn.plots.panels import Panel, bar_groups, line_panels
from jaxcnn.plots.ranges import learning_rate_curve
from jaxcnn.plots.style import save
from jaxcnn.plots.sweeps import sweep_results

__all__ = [
    "Panel",
    "activation_sheet",
    "attribution_panels",
    "bar_groups",
    "confusion_matrix",
    "filter_grid",
    "image_sheet",
    "learning_rate_curve",
    "line_panels",
    "loss_curves",
    "save",
    "sweep_results",
]
