"""Makes rectified.npz: Captum's guided backpropagation and deconvolution of a small residual net.

Needs PyTorch and Captum (2.13 and 0.9 made the committed file), whose methods see `nn.ReLU`
modules alone; the tests need neither. In float64, all of it channels last, kernels HWIO.
    python tests/golden/make_rectified.py
"""

from pathlib import Path

import numpy as np
import torch
from captum.attr import Deconvolution, GuidedBackprop, NeuronDeconvolution, NeuronGuidedBackprop
from torch import nn

CLASS = 2
NEURON = (3, 1, 2)  # channel, row, column of conv3's output


class Net(nn.Module):
    """Overlapping max pooling, a shortcut, and a ReLU module for every ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.conv3 = nn.Conv2d(6, 6, 3, padding=1)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(6 * 3 * 3, 10)
        self.fc2 = nn.Linear(10, 4)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool1(self.relus[0](self.conv1(x)))
        x = self.relus[2](x + self.conv3(self.relus[1](self.conv2(x))))
        x = self.pool2(x).permute(0, 2, 3, 1).flatten(1)
        return self.fc2(self.relus[3](self.fc1(x)))


def last(x: torch.Tensor) -> np.ndarray:
    """b c h w -> b h w c"""
    return x.detach().movedim(1, -1).numpy()


def main() -> None:
    torch.manual_seed(0)
    net = Net().double().eval()
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    values = {"x": last(x), "logits": net(x).detach().numpy()}
    for name, p in net.named_parameters():
        turned = p.detach().permute(2, 3, 1, 0) if p.ndim == 4 else p.detach().T
        values[name] = turned.numpy()
    for name, of_class, of_neuron in [
        ("guided_backprop", GuidedBackprop(net), NeuronGuidedBackprop(net, net.conv3)),
        ("deconvnet", Deconvolution(net), NeuronDeconvolution(net, net.conv3)),
    ]:
        values[f"{name}.class"] = last(of_class.attribute(x, target=CLASS))
        values[f"{name}.neuron"] = last(of_neuron.attribute(x, NEURON))
    np.savez_compressed(Path(__file__).with_name("rectified.npz"), **values)


if __name__ == "__main__":
    main()
