"""Makes zoo/NAME.npz: what torchvision's and timm's models give for the recipe's weights.

Everything is computed in float64 by PyTorch 2.13 (CPU), torchvision 0.28 and timm 1.0.31:

- `parameters`: how many, with the default 1000 (or 10) classes;
- `eval`: logits, and `eval.STAGE`: a sample of each stage, in evaluation mode;
- `train`: logits, `loss` (auxiliary heads at 0.3), and for each parameter group a projection of the
  gradient and of the updated batch statistics (`stats`), in training mode without dropout and
  stochastic depth.

Command: python tests/golden/make_zoo.py [NAME ...]
"""

import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "experiments"), str(Path(__file__).parent)]


def main(chosen):
    import torch
    import zoo_recipe as recipe
    import zoo_references as references

    from jaxcnn import models

    torch.set_num_threads(2)
    for name in chosen or [n for n in models.names() if references.known(n)]:
        count = sum(p.numel() for p in references.build(name, None).parameters())
        values = {"parameters": np.array(count)}
        model = references.build(name, recipe.CLASSES).double()
        references.calm(model)
        for module in model.modules():
            if isinstance(module, torch.nn.Hardsigmoid):  # PyTorch's slope is float32's 1/6
                module.forward = lambda x: torch.nn.functional.relu6(x + 3) / 6
        state = model.state_dict()  # with versions beside it that some models ask for
        shapes = {k: tuple(v.shape) for k, v in state.items()}
        drawn = recipe.weights(shapes, recipe.GAINS.get(name, 1.0))
        state.update({k: torch.from_numpy(v) for k, v in drawn.items()})
        model.load_state_dict(state, strict=True)
        del state, drawn  # gigabytes
        x = torch.from_numpy(recipe.images(name)).double().permute(0, 3, 1, 2).contiguous()
        values |= evaluated(model, x, models.entry(name).stages)
        values |= trained(model, x, torch.from_numpy(recipe.labels()))
        path = Path(__file__).parent / "zoo" / f"{name}.npz"
        np.savez_compressed(path, **values)
        print(name, int(values["parameters"]), f"{path.stat().st_size} bytes", flush=True)


def evaluated(model, x, stages):
    import torch
    import zoo_recipe as recipe

    values, hooks = {}, []
    for stage in stages:
        module = model.get_submodule(stage.replace("/", "."))
        hooks.append(
            module.register_forward_hook(
                lambda module, args, y, stage=stage: values.update({f"eval.{stage}": last(y)})
            )
        )
    with torch.no_grad():
        values["eval"] = model.eval()(x)
    for hook in hooks:
        hook.remove()
    return {k: v.numpy() if k == "eval" else recipe.sample(v.numpy()) for k, v in values.items()}


def last(y):
    """Channels last."""
    return y.movedim(1, -1).contiguous()


def trained(model, x, labels):
    import torch
    import zoo_recipe as recipe

    outputs = model.train()(x)
    logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    for y in auxiliary:
        loss = loss + 0.3 * torch.nn.functional.cross_entropy(y, labels)
    loss.backward()
    gradient = {k: p.grad.numpy() for k, p in model.named_parameters()}
    stats = {k: b.numpy() for k, b in model.named_buffers() if "running" in k}
    return {
        "train": logits.detach().numpy(),
        "loss": loss.detach().numpy(),
        "gradient": recipe.projections(gradient),
        "stats": recipe.projections(stats),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:])
