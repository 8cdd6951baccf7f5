import numpy as np
import pytest

from helpers import assert_close
from jaxcnn.plots import confusion_matrix


def counts(classes, seed=0):
    return np.random.default_rng(seed).integers(0, 9, (classes, classes))


def names(classes):
    return [f"class_{i}" for i in range(classes)]


def test_confusion_matrix_draws_the_shares_and_writes_the_counts():
    matrix = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])
    figure = confusion_matrix(matrix, ["cat", "dog", "$cow_1$"])
    axes, bar = figure.axes
    shares = [[80, 20, 0], [25, 75, 0], [0, 0, 0]]
    assert_close(axes.images[0].get_array(), shares, "float64")
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "8", (1, 0): "2", (0, 1): "1", (1, 1): "3"}
    assert axes.get_title(loc="left") == "Accuracy 78.57 %: 11 of 14 right"
    assert axes.get_xlabel() == "predicted class"
    assert axes.get_ylabel() == "true class"
    assert bar.get_ylabel() == "share of the true class (%)"
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog", "$cow_1$"]
        assert not labels[0].get_parse_math()


def test_confusion_matrix_rows_of_equal_shares_look_alike():
    matrix = np.array([[1, 3], [30, 10]])
    image = confusion_matrix(matrix, ["rare", "frequent"]).axes[0].images[0].get_array()
    assert_close(image[0], image[1][::-1], "float64")


@pytest.mark.parametrize(("classes", "step"), [(1, 1), (20, 1), (21, 1), (100, 1), (250, 3)])
def test_confusion_matrix_of_any_size(classes, step):
    figure = confusion_matrix(counts(classes) + 1, names(classes))
    axes = figure.axes[0]
    assert len(axes.texts) == (classes**2 if classes <= 20 else 0)
    assert [label.get_text() for label in axes.get_xticklabels()] == names(classes)[::step]
    assert list(axes.get_yticks()) == list(range(0, classes, step))
    assert figure.get_size_inches().max() <= 12


def test_confusion_matrix_errors(unchecked):
    with pytest.raises(ValueError, match=r"confusion_matrix: counts needs shape \(2, 2\) for 2"):
        confusion_matrix(counts(3), ["a", "b"])
    with pytest.raises(ValueError, match=r"confusion_matrix: .* for 0 classes, got \(3, 3\)"):
        confusion_matrix(counts(3), [])
    with pytest.raises(ValueError, match="confusion_matrix: counts needs at least one example"):
        confusion_matrix(np.zeros((2, 2), int), ["a", "b"])
    with pytest.raises(ValueError, match="confusion_matrix: .* a minimum of -1"):
        confusion_matrix(np.array([[3, -1], [0, 2]]), ["a", "b"])
    with pytest.raises(ValueError, match="confusion_matrix: counts needs at least one example"):
        confusion_matrix(np.zeros((0, 0), int), [])
