"""Makes attribution.npz: Captum's attributions of a small net, and the net.

Needs PyTorch and Captum (2.13 and 0.9 made the committed file); the tests need neither. In
float64 (but Captum adds up occlusion in float32), all of it channels last, kernels HWIO.
    python tests/golden/make_attribution.py
"""

from pathlib import Path

import numpy as np
import torch
from captum.attr import (
    InputXGradient,
    IntegratedGradients,
    LayerActivation,
    LayerGradCam,
    LayerGradientXActivation,
    Occlusion,
    Saliency,
)
from torch import nn
from torch.nn import functional as F

CLASS, STEPS, BASELINE = 2, 6, 0.25
OCCLUSIONS = {"within": ((4, 2), (3, 2)), "over": ((3, 4), (2, 4))}  # windows, strides


class Net(nn.Module):
    """Two convolutions, max pooling, two dense layers, and a ReLU module for every ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.fc1 = nn.Linear(8 * 2 * 2, 10)
        self.fc2 = nn.Linear(10, 4)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(3))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.relus[0](self.conv1(x)))
        x = self.pool(self.relus[1](self.conv2(x)))
        return self.fc2(self.relus[2](self.fc1(x.permute(0, 2, 3, 1).flatten(1))))


def last(x: torch.Tensor) -> np.ndarray:
    """b c h w -> b h w c"""
    return x.detach().movedim(1, -1).numpy()


def main() -> None:
    torch.manual_seed(0)
    net = Net().double().eval()
    x = torch.randn(2, 3, 10, 10, dtype=torch.float64)
    values = {"x": last(x)}
    for name, p in net.named_parameters():
        values[name] = p.detach().numpy().transpose((2, 3, 1, 0) if p.ndim == 4 else None)
    x.requires_grad_()
    values["saliency"] = last(Saliency(net).attribute(x, CLASS, abs=False))
    values["grad_times_input"] = last(InputXGradient(net).attribute(x, CLASS))
    attribution, delta = IntegratedGradients(net).attribute(
        x, BASELINE, CLASS, n_steps=STEPS, method="gausslegendre", return_convergence_delta=True
    )
    values["integrated_gradients"] = last(attribution)
    values["residual"] = -delta.detach().numpy()
    for name, (window, stride) in OCCLUSIONS.items():
        found = Occlusion(net).attribute(x, (3, *window), (3, *stride), BASELINE, CLASS)
        values[f"occlusion.{name}"] = last(found)[..., :1]  # all channels have the same
    for name, layer in [("conv2", net.conv2), ("relu2", net.relus[1])]:
        cam = LayerGradCam(net, layer)
        coarse = cam.attribute(x, CLASS, relu_attributions=True)
        values[f"grad_cam.{name}"] = last(coarse)[..., 0]
        raw = F.interpolate(coarse, (10, 10), mode="bilinear")
        values[f"grad_cam_raw.{name}"] = last(raw)[..., 0]
    values["conv2"] = last(LayerActivation(net, net.conv2).attribute(x))
    product = LayerGradientXActivation(net, net.conv2).attribute(x, CLASS)
    values["conv2_gradient_times_output"] = last(product)
    np.savez_compressed(Path(__file__).with_name("attribution.npz"), **values)


if __name__ == "__main__":
    main()
