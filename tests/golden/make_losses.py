"""Makes losses.npz: PyTorch's losses with reduction="none", in float64, and their gradients.

Needs PyTorch (2.13 made the committed file); the tests do not.
    python tests/golden/make_losses.py
"""

from pathlib import Path

import numpy as np


def main() -> None:
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(0)
    out: dict[str, np.ndarray] = {}

    def save(name, loss, x):
        """The loss, and the gradient of its sum with respect to x."""
        out[name] = loss.detach().numpy()
        out[f"{name}_gradient"] = torch.autograd.grad(loss.sum(), x)[0].numpy()

    def tensor(name, values):
        out[name] = np.asarray(values)
        x = torch.tensor(out[name])
        return x.requires_grad_() if x.is_floating_point() else x

    # Classes.
    logits = tensor("logits", 3 * rng.normal(size=(6, 5)))
    labels = tensor("labels", np.array([0, 4, 2, 2, 1, 3]))
    ignored = tensor("labels_ignored", np.array([0, -100, 2, -100, 1, 3]))
    distributions = tensor("distributions", rng.dirichlet(np.ones(5), size=6))
    weights = tensor("class_weights", np.array([0.5, 1.0, 2.0, 0.0, 1.5])).detach()
    cases = {
        "cross_entropy": (labels, {}),
        "cross_entropy_smoothed": (labels, {"label_smoothing": 0.1}),
        "cross_entropy_weighted": (labels, {"weight": weights}),
        "cross_entropy_all": (ignored, {"label_smoothing": 0.3, "weight": weights}),
        "cross_entropy_distributions": (distributions.detach(), {}),
        "cross_entropy_distributions_all": (
            distributions.detach(),
            {"label_smoothing": 0.3, "weight": weights},
        ),
    }
    for name, (targets, options) in cases.items():
        save(name, F.cross_entropy(logits, targets, reduction="none", **options), logits)
    out["cross_entropy_ignored_mean"] = F.cross_entropy(logits, ignored).detach().numpy()
    out["cross_entropy_all_mean"] = F.cross_entropy(logits, ignored, weight=weights).detach()
    log_probs = tensor("log_probs", F.log_softmax(logits, dim=-1).detach().numpy())
    save("nll", F.nll_loss(log_probs, labels, reduction="none"), log_probs)
    targets = out["distributions"].copy()
    targets[0] = [0, 0.5, 0, 0.5, 0]
    kl_targets = tensor("kl_targets", targets).detach()
    save("kl_div", F.kl_div(log_probs, kl_targets, reduction="none"), log_probs)
    for margin in (1.0, 0.5):
        loss = F.multi_margin_loss(logits, labels, margin=margin, reduction="none")
        save(f"multi_margin_{margin}", loss, logits)

    # Numbers: (b, *features).
    predictions = tensor("predictions", 2 * rng.normal(size=(4, 3, 2)))
    truths = 2 * rng.normal(size=(4, 3, 2))
    truths[0, 0, 0] = out["predictions"][0, 0, 0]  # no error at all
    numbers = tensor("truths", truths).detach()
    save("mse", F.mse_loss(predictions, numbers, reduction="none"), predictions)
    save("l1", F.l1_loss(predictions, numbers, reduction="none"), predictions)
    for delta in (1.0, 0.3):
        loss = F.huber_loss(predictions, numbers, delta=delta, reduction="none")
        save(f"huber_{delta}", loss, predictions)

    # Yes or no: (b, features), with the corners first.
    probs = tensor("probs", [[0, 0, 1, 1], [1e-30, 0, 1, 0.5], *rng.uniform(size=(3, 4))])
    yes = tensor("yes", [[0, 1, 0, 1], [1, 0.5, 0.5, 0.25], *rng.integers(2, size=(3, 4))])
    yes = yes.detach()
    save("bce", F.binary_cross_entropy(probs, yes, reduction="none"), probs)
    z = tensor("z", [[-1e4, -1e3, 1e3, 1e4], [0, 0, 40, -40], *(3 * rng.normal(size=(3, 4)))])
    bce = F.binary_cross_entropy_with_logits(z, yes, reduction="none")
    save("bce_with_logits", bce, z)
    hard = tensor("hard", rng.integers(2, size=(5, 4)).astype(float)).detach()
    p = torch.sigmoid(z)  # torchvision's sigmoid_focal_loss, whose targets are 0 and 1
    p_t = p * hard + (1 - p) * (1 - hard)
    ce = F.binary_cross_entropy_with_logits(z, hard, reduction="none")
    save("focal", (0.25 * hard + 0.75 * (1 - hard)) * ce * (1 - p_t) ** 2, z)
    sign = 2 * hard - 1
    far = -torch.ones_like(sign)  # hinge_embedding_loss of x and -1 is max(0, margin - x)
    save("hinge", F.hinge_embedding_loss(sign * z, far, reduction="none"), z)

    np.savez_compressed(Path(__file__).with_name("losses.npz"), **out)


if __name__ == "__main__":
    main()
