"""Make functional.npz: what PyTorch computes for convolutions, pooling and normalization.

Needs torch (made with 2.13, on a CPU, in float64). Run: python tests/golden/make_functional.py

For each case the file has CASE.x, CASE.y and CASE.dx, the gradient of sum(sin(y)), and what else
the case takes or gives, all in this library's layout: channels last, kernels *window, in, out.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

torch.manual_seed(0)
values: dict[str, np.ndarray] = {}


def last(x: torch.Tensor) -> np.ndarray:
    """b c *space -> b *space c"""
    return x.detach().movedim(1, -1).numpy()


def kernel_last(w: torch.Tensor) -> np.ndarray:
    """0 1 *window -> *window 1 0"""
    return w.detach().movedim((0, 1), (-1, -2)).numpy()


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def record(case: str, function, x: torch.Tensor, **parameters: torch.Tensor) -> None:
    """x, y, and the gradients of sum(sin(y)) in x and in the parameters."""
    leaves = [a.clone().requires_grad_() for a in (x, *parameters.values())]
    y = function(*leaves)
    if isinstance(y, tuple):
        y, indices = y
        values[f"{case}.indices"] = last(indices).astype(np.int32)
    dx, *gradients = torch.autograd.grad(y.sin().sum(), leaves)
    values[f"{case}.x"], values[f"{case}.y"], values[f"{case}.dx"] = last(x), last(y), last(dx)
    for (name, p), dp in zip(parameters.items(), gradients, strict=True):
        turn = kernel_last if name == "kernel" else torch.Tensor.numpy
        values[f"{case}.{name}"], values[f"{case}.d{name}"] = turn(p), turn(dp)


# Convolution: name, function, x, weight, c_out, options
for case, function, size, weight, c_out, options in [
    ("conv1d", F.conv1d, (1, 4, 9), (6, 2, 3), 6, {"stride": 2, "padding": 1, "groups": 2}),
    ("conv2d", F.conv2d, (1, 3, 6, 5), (4, 3, 3, 2), 4, {"padding": (1, 0), "stride": (2, 1)}),
    ("conv2d_groups", F.conv2d, (1, 4, 7, 6), (6, 2, 3, 2), 6,
     {"padding": 2, "dilation": (2, 1), "groups": 2}),
    ("conv3d", F.conv3d, (1, 2, 4, 3, 4), (2, 2, 2, 3, 2), 2,
     {"padding": 1, "dilation": (1, 1, 2)}),
    ("conv_transpose1d", F.conv_transpose1d, (1, 2, 4), (2, 3, 3), 3,
     {"stride": 2, "output_padding": 1}),
    ("conv_transpose2d", F.conv_transpose2d, (1, 4, 3, 4), (4, 3, 3, 2), 6,
     {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2}),
    ("conv_transpose2d_dilation", F.conv_transpose2d, (1, 2, 3, 3), (2, 2, 2, 3), 2,
     {"dilation": 2, "padding": (0, 1), "output_padding": 1}),
    ("conv_transpose3d", F.conv_transpose3d, (1, 2, 2, 3, 2), (2, 1, 3, 2, 3), 2,
     {"stride": 2, "padding": (1, 0, 1), "groups": 2}),
]:  # fmt: skip
    record(
        case,
        lambda x, w, b, f=function, o=options: f(x, w, b, **o),
        normal(*size),
        kernel=normal(*weight),
        bias=normal(c_out),
    )

# Pooling. Whole numbers of few values, so that maxima tie.
for axes, size in ((1, (2, 2, 9)), (2, (1, 2, 6, 7)), (3, (1, 1, 4, 5, 4))):
    image = torch.randint(-3, 4, size).double()
    max_pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    avg_pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    for name, options in {
        "_overlap": {"kernel_size": 3, "stride": 2, "padding": 1},
        "_ceil": {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        "_ceil_pad": {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    }.items():
        record(
            f"max_pool{axes}d{name}",
            lambda x, f=max_pool, o=options: f(x, return_indices=True, **o),
            image,
        )
        record(f"avg_pool{axes}d{name}", lambda x, f=avg_pool, o=options: f(x, **o), normal(*size))
        if "padding" in options:
            record(
                f"avg_pool{axes}d{name}_inside",
                lambda x, f=avg_pool, o=options: f(x, count_include_pad=False, **o),
                normal(*size),
            )
    adaptive = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[axes - 1]
    record(
        f"adaptive_avg_pool{axes}d",
        lambda x, f=adaptive, n=axes: f(x, (3, 5, 2)[:n]),
        normal(*size),
    )

pooled, places = F.max_pool2d(normal(2, 3, 4, 6), 2, return_indices=True)
record("max_unpool2d", lambda x: F.max_unpool2d(x, places, 2), pooled)
values["max_unpool2d.indices"] = last(places).astype(np.int32)

# Normalization
x, scale, bias = normal(2, 4, 3, 2) * 2 + 1, normal(4), normal(4)
image_scale, image_bias = normal(3, 2, 4), normal(3, 2, 4)


def layer_norm(x, s, b):
    return F.layer_norm(x.movedim(1, -1), s.shape, s, b).movedim(-1, 1)


for case, function, s, b in [
    ("batch_norm", lambda x, s, b: F.batch_norm(x, None, None, s, b, training=True), scale, bias),
    ("group_norm", lambda x, s, b: F.group_norm(x, 2, s, b, eps=1e-3), scale, bias),
    ("instance_norm", lambda x, s, b: F.instance_norm(x, weight=s, bias=b), scale, bias),
    ("layer_norm", layer_norm, scale, bias),
    ("layer_norm_image", layer_norm, image_scale, image_bias),
]:
    record(case, function, x, scale=s, bias=b)

module = torch.nn.BatchNorm2d(4, dtype=torch.float64)
values["batch_norm_steps.x"] = np.stack([last(x), last(3 * x**2 - 1)])
for batch in (x, 3 * x**2 - 1):
    module(batch)
values["batch_norm_steps.mean"] = module.running_mean.numpy()
values["batch_norm_steps.var"] = module.running_var.numpy()
values["batch_norm_steps.y"] = last(module.eval()(x))

for size in (4, 5):
    x = normal(1, 7, 2, 2) * 30
    record(f"local_response_norm_{size}", lambda x, n=size: F.local_response_norm(x, n), x)
x = normal(2, 7, 2) * 3
record("local_response_norm_power", lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 2.0), x)

np.savez_compressed(Path(__file__).with_name("functional.npz"), **values)
print(len(values), "arrays,", sum(v.nbytes for v in values.values()), "bytes")
