"""PyTorch's side of the benchmarks: a server that makes calls and tells how long they take.

It runs in a process of its own, so that its Python may be another one than JAX's. `timing.Peer`
starts it and speaks to it in lines of JSON.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from timing import Call, elapsed

torch: Any = importlib.import_module("torch")
F: Any = importlib.import_module("torch.nn.functional")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def conv(
    batch: int,
    size: int,
    c_in: int,
    c_out: int,
    window: int,
    stride: int,
    padding: int,
    groups: int,
    dilation: int,
    transposed: bool,
) -> dict[str, Call]:
    """The three passes of a convolution of square images."""
    x = last(torch.randn(batch, c_in, size, size))
    shape = (c_in, c_out) if transposed else (c_out, c_in // groups)
    kernel = last(torch.randn(*shape, window, window))
    two = [[n, n] for n in (stride, padding, dilation)]
    options = (None, *two, transposed, [0, 0], groups)
    with torch.no_grad():
        y = torch.ops.aten.convolution(x, kernel, *options)
    dy = torch.randn_like(y)

    def back(*which: bool) -> Call:
        return lambda: torch.ops.aten.convolution_backward(dy, x, kernel, *options, [*which, False])

    return {
        "forward": lambda: torch.ops.aten.convolution(x, kernel, *options),
        "by x": back(True, False),
        "by kernel": back(False, True),
    }


def pool(
    kind: str, batch: int, size: int, channels: int, window: int, stride: int, padding: int
) -> dict[str, Call]:
    """Both passes of pooling of square images."""
    x = last(torch.randn(batch, channels, size, size))
    f = {"max": F.max_pool2d, "avg": F.avg_pool2d}[kind]
    return gradient(lambda x: f(x, window, stride, padding), x)


def norm(batch: int, size: int, channels: int) -> dict[str, Call]:
    """Both passes of batch norm in training."""
    x = last(torch.randn(batch, channels, size, size))
    zero, one = torch.zeros(channels, device=DEVICE), torch.ones(channels, device=DEVICE)

    def f(x: Any, scale: Any, bias: Any) -> Any:
        return F.batch_norm(x, zero, one, scale, bias, True)

    return gradient(f, x, one.clone(), zero.clone())


def gradient(f: Callable[..., Any], *args: Any) -> dict[str, Call]:
    """The forward pass of a function, and it with the gradient by all arguments."""
    leaves, dy = [a.detach().requires_grad_() for a in args], torch.randn_like(f(*args))

    def forward() -> None:
        with torch.no_grad():
            f(*args)

    def both() -> None:
        torch.autograd.grad(f(*leaves), leaves, dy)

    return {"forward": forward, "forward and back": both}


def model(name: str, kind: str, batch: int, size: int, channels: int) -> dict[str, Call]:
    """A training step and inference of torchvision's model."""
    sys.path.append(str(Path(__file__).parent.parent / "tests" / "golden"))
    references = importlib.import_module("zoo_references")
    layout = torch.contiguous_format if kind == "torch" else torch.channels_last
    aux = {"aux_logits": False} if name == "googlenet" else {}
    net = references.lenet() if name == "lenet" else references.build(name, None, **aux)
    references.calm(net)
    net = net.to(DEVICE, memory_format=layout)
    x = torch.randn(batch, channels, size, size).to(DEVICE, memory_format=layout)
    labels = torch.randint(0, 10, (batch,), device=DEVICE)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
    forward = torch.compile(net) if kind == "torch_compile" else net

    def train() -> None:
        net.train()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(forward(x), labels).backward()
        optimizer.step()

    def infer() -> None:
        net.eval()
        with torch.no_grad():
            forward(x)

    return {"train": train, "infer": infer}


def epoch(name: str, kind: str, data: str, batch: int) -> dict[str, Call]:
    """An epoch of SGD with momentum over tensors in memory, in an order drawn anew each time.

    Args:
        name: resnet18, its first convolution for the images' channels, or lenet; of ten classes.
        kind: torch_compile compiles model and loss, channels_last; torch runs them as they are.
        data: file of normalized images b h w c and of labels, .npz.
        batch: images in a step.
    """
    numpy: Any = importlib.import_module("numpy")
    sys.path.append(str(Path(__file__).parent.parent / "tests" / "golden"))
    references = importlib.import_module("zoo_references")
    layout = torch.contiguous_format if kind == "torch" else torch.channels_last
    with numpy.load(data) as file:
        images = torch.from_numpy(file["images"]).movedim(-1, 1).contiguous(memory_format=layout)
        labels = torch.from_numpy(file["labels"]).long().to(DEVICE)
    net = references.lenet() if name == "lenet" else references.build(name, 10)
    if name != "lenet":
        net.conv1 = torch.nn.Conv2d(images.shape[1], 64, 7, 2, 3, bias=False)
    images, net = images.to(DEVICE), net.to(DEVICE, memory_format=layout).train()
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)

    def mean_loss(x: Any, y: Any) -> Any:
        return F.cross_entropy(net(x), y)

    loss_of = torch.compile(mean_loss) if kind == "torch_compile" else mean_loss

    def train() -> None:
        for chosen in torch.randperm(len(labels), device=DEVICE).split(batch):
            optimizer.zero_grad(set_to_none=True)
            loss_of(images[chosen], labels[chosen]).backward()
            optimizer.step()

    return {"epoch": train}


def amp(name: str, batch: int, size: int, steps: int) -> dict[str, Call]:
    """Training steps of torchvision's model in bfloat16: autocast, compiled, channels_last."""
    sys.path.append(str(Path(__file__).parent.parent / "tests" / "golden"))
    references = importlib.import_module("zoo_references")
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    net = references.build(name, None).to(DEVICE, memory_format=torch.channels_last).train()
    x = last(torch.randn(batch, 3, size, size))
    labels = torch.randint(0, 10, (batch,), device=DEVICE)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, fused=True)

    @torch.compile
    def mean_loss() -> Any:
        with torch.autocast(DEVICE, torch.bfloat16):
            return F.cross_entropy(net(x), labels)

    def train() -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            mean_loss().backward()
            optimizer.step()

    return {"steps": train}


def attribution(name: str, state: str, images: str, target: int, window: int) -> dict[str, Call]:
    """Captum's methods for a class of torchvision's model, or of LeNet.

    Args:
        name: of the model.
        state: file of its weights, .npz.
        images: file of images b h w c, .npy.
        target: the class.
        window: of occlusion, pixels; also its stride.
    """
    attr: Any = importlib.import_module("captum.attr")
    numpy: Any = importlib.import_module("numpy")
    sys.path.append(str(Path(__file__).parent.parent / "tests" / "golden"))
    references = importlib.import_module("zoo_references")
    net = references.lenet() if name == "lenet" else references.build(name, None)
    with numpy.load(state) as file:
        net.load_state_dict({k: torch.from_numpy(v) for k, v in file.items()})
    net = net.to(DEVICE).eval()
    x = torch.from_numpy(numpy.load(images)).movedim(-1, 1).contiguous().to(DEVICE)
    x.requires_grad_()
    maps = net[4] if name == "lenet" else net.features
    sigma, square = 0.15 * float(x.detach().max() - x.detach().min()), (x.shape[1], window, window)
    noisy = attr.NoiseTunnel(attr.Saliency(net))
    noise = {"nt_samples": 50, "stdevs": sigma, "target": target, "abs": False}
    path = {"n_steps": 32, "method": "gausslegendre", "return_convergence_delta": True}
    integrated, covered = attr.IntegratedGradients(net), attr.Occlusion(net)
    calls: dict[str, Call] = {
        "saliency": lambda: attr.Saliency(net).attribute(x, target, abs=False),
        "grad_times_input": lambda: attr.InputXGradient(net).attribute(x, target),
        "smooth_grad": lambda: noisy.attribute(x, **noise),
        "smooth_grad, other": lambda: noisy.attribute(x, **noise, nt_samples_batch_size=1),
        "integrated_gradients": lambda: integrated.attribute(x, 0, target, **path),
        "integrated_gradients, other": lambda: integrated.attribute(
            x, 0, target, **path, internal_batch_size=len(x)
        ),
        "occlusion": lambda: covered.attribute(x, square, square, 0, target),
        "occlusion, other": lambda: covered.attribute(
            x, square, square, 0, target, perturbations_per_eval=8
        ),
        "grad_cam": lambda: attr.LayerAttribution.interpolate(
            attr.LayerGradCam(net, maps).attribute(x, target, relu_attributions=True),
            tuple(x.shape[2:]),
            "bilinear",
        ),
    }
    if name == "lenet":  # they do not know ReLU6
        calls |= {
            "guided_backprop": lambda: attr.GuidedBackprop(net).attribute(x, target),
            "deconvnet": lambda: attr.Deconvolution(net).attribute(x, target),
        }
    return calls


def last(x: Any) -> Any:
    """On the device, channels_last."""
    return x.to(DEVICE, memory_format=torch.channels_last)


def waiting(call: Call) -> Call:
    """A call that returns when its work is done."""
    if DEVICE == "cpu":
        return call

    def waits() -> None:
        call()
        torch.cuda.synchronize()

    return waits


MAKERS: dict[str, Callable[..., dict[str, Call]]] = {
    "conv": conv,
    "pool": pool,
    "norm": norm,
    "model": model,
    "epoch": epoch,
    "amp": amp,
    "attribution": attribution,
}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Say that it is there; answer ["make", maker, options], ["run", number, name], ["forget"]."""
    made: list[dict[str, Call]] = []
    print("null", file=answers, flush=True)
    for line in requests:
        what, *rest = json.loads(line)
        if what == "make":
            maker, options = rest
            made.append({name: waiting(call) for name, call in MAKERS[maker](**options).items()})
            answer: Any = [len(made) - 1, list(made[-1])]
        elif what == "run":
            number, name = rest
            answer = elapsed(made[number][name])
        else:
            answer = made.clear()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what PyTorch prints is no answer
        serve(sys.stdin, answers)
