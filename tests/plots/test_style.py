import subprocess
import sys

import numpy as np
from PIL import Image

from jaxcnn import plots


def test_save_writes_a_png_and_its_folders(tmp_path):
    figure = plots.filter_grid(np.arange(9.0).reshape(3, 3, 1, 1))
    path = tmp_path / "run" / "filters.png"
    assert plots.save(figure, path) == path
    assert plots.save(figure, str(path)) == path
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert round(image.info["dpi"][0]) == 150
        assert len(np.unique(np.asarray(image.convert("L")))) > 9


def test_plots_use_no_global_state(tmp_path):
    """pyplot, which keeps every figure and picks a display, is never imported."""
    program = """
import sys
from jaxcnn import plots
row = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5}
plots.save(plots.loss_curves([row]), sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    path = tmp_path / "curves.png"
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60)
    assert path.stat().st_size > 5000
