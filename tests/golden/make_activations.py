"""Makes activations.npz: PyTorch's activations on a grid and their gradients, in float64.

Needs PyTorch (2.13 made the committed file); the tests do not.
    python tests/golden/make_activations.py
"""

from pathlib import Path

import numpy as np


def main() -> None:
    import torch
    from torch.nn import functional as F

    activations = {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "leaky_relu_0.2": lambda x: F.leaky_relu(x, 0.2),
        "elu": F.elu,
        "elu_0.5": lambda x: F.elu(x, 0.5),
        "softmax": lambda x: F.softmax(x, dim=-1),
        "log_softmax": lambda x: F.log_softmax(x, dim=-1),
        "relu6": F.relu6,
        "gelu": lambda x: F.gelu(x, approximate="tanh"),
        "gelu_exact": F.gelu,
        "silu": F.silu,
        "hard_swish": F.hardswish,
        # The threshold above which PyTorch's is the identity is put out of the way.
        "softplus": lambda x: F.softplus(x, threshold=1e6),
    }
    x = np.linspace(-8.25, 8.75, 35).reshape(5, 7)  # in halves, and no kink among them
    arrays = {"x": x}
    weights = torch.cos(torch.arange(35.0, dtype=torch.float64)).reshape(5, 7)
    for name, activation in activations.items():
        leaf = torch.tensor(x, requires_grad=True)
        y = activation(leaf)
        arrays[name] = y.detach().numpy()
        arrays[f"{name}_gradient"] = torch.autograd.grad((y * weights).sum(), leaf)[0].numpy()
    np.savez_compressed(Path(__file__).with_name("activations.npz"), **arrays)


if __name__ == "__main__":
    main()
