import pytest

from jaxcnn.train import diagnose


def row(epoch, train_loss, val_loss, train_accuracy, val_accuracy):
    return {
        "epoch": epoch,
        "train_loss": train_loss,
        "val_loss": val_loss,
        "train_accuracy": train_accuracy,
        "val_accuracy": val_accuracy,
    }


CASES = {
    "Good fit": [row(1, 1.0, 0.9, 0.7, 0.7), row(2, 0.1, 0.12, 0.97, 0.96)],
    "Overfitting": [row(1, 1.0, 0.5, 0.7, 0.8), row(2, 0.01, 0.9, 1.0, 0.82)],
    "Underfitting": [row(1, 2.2, 2.2, 0.2, 0.2), row(2, 1.8, 1.8, 0.35, 0.34)],
    "Diverging": [row(1, 1.0, 1.0, 0.6, 0.6), row(2, 9.0, 9.0, 0.1, 0.1)],
}


@pytest.mark.parametrize("verdict", CASES)
def test_verdicts(verdict):
    assert diagnose(CASES[verdict], classes=10).startswith(verdict)


def test_overfitting_names_the_epoch():
    assert "at epoch 1" in diagnose(CASES["Overfitting"], classes=10)


def test_without_validation_or_epochs():
    alone = [{"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.9}]
    assert "without validation" in diagnose(alone, classes=10)
    assert diagnose([], classes=10).startswith("No epoch")
    assert diagnose([], classes=10, diverged=True).startswith("Diverged")
