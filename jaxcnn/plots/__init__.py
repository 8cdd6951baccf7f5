"""Arrays to matplotlib figures: no global state, no display needed, nothing left open."""

from jaxcnn.plots.confusion import confusion_matrix
from jaxcnn.plots.curves import loss_curves
from jaxcnn.plots.filters import filter_grid
from jaxcnn.plots.style import save

__all__ = ["confusion_matrix", "filter_grid", "loss_curves", "save"]
