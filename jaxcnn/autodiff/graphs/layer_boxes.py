"""Boxes and arrows of a computational graph: one box for each module of a network."""

from collections.abc import Sequence

from jaxcnn.autodiff.drawing.drawings import Box, Edge, Line
from jaxcnn.autodiff.graphs.operation_boxes import Scene, end_box, module, numbers, sign, word
from jaxcnn.autodiff.traces.programs import Program, Step

Layer = tuple[str, int]  # a scope, and a number where the scope is entered more than once


def layer_boxes(scene: Scene) -> tuple[list[Box], list[Edge]]:
    """A box for each module; parameters that only it uses, and their adjoints, stand inside."""
    line = scene.line
    layers = [(step.scope, rank) for step, rank in zip(line.steps, _ranks(line), strict=True)]
    home = {n: layers[i] for i, step in enumerate(line.steps) for n in step.outputs}
    users = {
        i: {layers[k] for k, step in enumerate(line.steps) if i in step.operands}
        for i in range(len(line.names))
    }
    parameters = {i for i in users if "/" in line.names[i] and _one_module(users[i])}
    derivatives = {
        i: home[o]
        for i, o in enumerate(line.outputs)
        if "/" in scene.ends[i] and isinstance(o, int) and o in home and home[o][0]
    }
    names = {layer: f"g{n}" for n, layer in enumerate(dict.fromkeys(layers))}
    source = {i: f"v{i}" for i in users} | {n: names[layer] for n, layer in home.items()}
    boxes = [
        Box(f"v{i}", (Line(line.names[i], "title"), *numbers(scene, i)), "input")
        for i in users
        if i not in parameters and users[i]
    ]
    edges = []
    for layer, name in names.items():
        own = [i for i in range(len(layers)) if layers[i] == layer]
        steps = [line.steps[i] for i in own]
        lines = [Line(_title(layer[0], steps), "title"), Line(_listing(steps), "note")]
        held = sorted(i for i in parameters if layer in users[i])
        lines += [_parameter(scene, line.names[i], i) for i in held]
        made = [i for i, place in derivatives.items() if place == layer]
        lines += [_parameter(scene, scene.ends[i], line.outputs[i]) for i in made]
        for number in _leaving(line, steps, [line.outputs[i] for i in made])[:2]:
            lines += numbers(scene, number)
        claims = [scene.claims["step", i] for i in own if ("step", i) in scene.claims]
        told = [c for c in claims if not c.holds or "(" in c.says]  # failures, ties
        lines += [Line(word(claim), "note") for claim in told]
        boxes.append(Box(name, tuple(lines), "layer", module(layer[0]).rpartition("/")[0]))
        before = sorted({o for s in steps for o in s.operands if isinstance(o, int)})
        wanted = [source[o] for o in before if o not in parameters and home.get(o) != layer]
        edges += [Edge(other, name) for other in dict.fromkeys(wanted)]
    for i, operand in enumerate(line.outputs):
        if i not in derivatives:
            boxes.append(end_box(scene, i))
            if isinstance(operand, int):
                edges.append(Edge(source[operand], f"y{i}"))
    return boxes, edges


def _one_module(layers: set[Layer]) -> bool:
    """Whether one and the same module uses it, be it forwards and backwards."""
    modules = {module(scope) for scope, _ in layers}
    return len(modules) == 1 and modules != {""}


def _parameter(scene: Scene, name: str, number: object) -> Line:
    assert isinstance(number, int)
    shape = "×".join(map(str, scene.line.shapes[number].shape))
    return Line(f"{name.rsplit('/', 1)[-1]} {shape}", "plain")


def _ranks(line: Program) -> list[int]:
    """A number for each step, so that steps of one scope and one number can be one box.

    Arrows between boxes always lead to higher numbers, so boxes have no cycles.
    """
    made = {number: i for i, step in enumerate(line.steps) for number in step.outputs}
    rank: list[int] = []
    users: list[list[int]] = [[] for _ in line.steps]
    for i, step in enumerate(line.steps):
        before = [made[o] for o in step.operands if isinstance(o, int) and o in made]
        for k in before:
            users[k].append(i)
        steps = [rank[k] + (line.steps[k].scope != step.scope) for k in before]
        rank.append(max(steps, default=0))
    for i in reversed(range(len(rank))):  # a bias waits for the sum that it goes into
        if users[i] and all(line.steps[k].scope == line.steps[i].scope for k in users[i]):
            rank[i] = min(rank[k] for k in users[i])
    return rank


def _leaving(line: Program, steps: Sequence[Step], told: Sequence[object]) -> list[int]:
    """The values that others take from these steps, without those that the box tells already."""
    own = {number for step in steps for number in step.outputs}
    inside = {id(step) for step in steps}
    taken = [o for s in line.steps if id(s) not in inside for o in s.operands]
    ends = [o for o in line.outputs if o not in told]
    wanted = {o for o in (*taken, *ends) if isinstance(o, int)}
    return sorted(own & wanted, reverse=True)


def _listing(steps: Sequence[Step]) -> str:
    signs = list(dict.fromkeys(sign(step) for step in steps))
    return ", ".join(signs[:5]) + (f" and {len(signs) - 5} more" if len(signs) > 5 else "")


def _title(scope: str, steps: Sequence[Step]) -> str:
    *around, last = module(scope).split("/")
    if last.isdigit():  # a block's number says little without its stage
        last = "/".join([*around[-1:], last])
    if not last:
        return f"{len(steps)} operations" if len(steps) > 1 else sign(steps[0])
    return f"{last}, backwards" if "transpose(" in scope else last
