"""Where the layers of a drawing are along its edges, with room for frames, labels and slopes."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxcnn.autodiff.drawing.alignment import Segment
from jaxcnn.autodiff.drawing.drawings import Drawing
from jaxcnn.autodiff.drawing.letters import FRAME, LABEL, text_width
from jaxcnn.autodiff.drawing.ranks import Cluster, Ranked

FRAME_PAD = 12.0  # from a frame to what it holds
LANE = 16.0  # between long edges
_GAP = {"right": 48.0, "down": 36.0}  # between layers
_STEEP = 0.12  # how much wider a gap is per pixel that its edges move aside


def title_width(path: str) -> float:
    """How wide a frame is at least, so that its title stands within it."""
    return text_width(path.rsplit("/", 1)[-1], FRAME.size, bold=FRAME.bold) + 2 * FRAME_PAD


class Columns(NamedTuple):
    """Where the layers are along the edges, and how far the frames reach out of them."""

    starts: list[float]
    stops: list[float]
    reach: dict[Cluster, tuple[float, float]]

    def middle(self, layer: int) -> float:
        """Where the boxes of a layer have their middles."""
        return (self.starts[layer] + self.stops[layer]) / 2

    @staticmethod
    def of(
        drawing: Drawing,
        ranked: Ranked,
        along: list[float],
        segments: Sequence[Segment],
        x: list[float],
        direction: str,
    ) -> "Columns":
        """Layers as thick as their boxes, gaps wide enough for frames, labels and slopes."""
        count = len(ranked.order)
        thick, gaps = [0.0] * count, [_GAP[direction]] * count
        for size, layer in zip(along, ranked.layer, strict=False):
            thick[layer] = max(thick[layer], size)
        for edge, chain in zip(drawing.edges, ranked.chains, strict=True):
            if edge.label:
                width = text_width(edge.label, LABEL.size) + 28 if direction == "right" else 44
                at = ranked.layer[chain[-1]] - 1
                gaps[at] = max(gaps[at], width)
        slopes = [0.0] * count
        for low, high, shift, _ in segments:
            at = ranked.layer[low]
            slopes[at] = max(slopes[at], abs(x[high] - x[low] - shift))
        reach, spans = _reach(ranked, along, direction)
        before, after = [0.0] * (count + 1), [0.0] * (count + 1)
        for layer, inside in zip(ranked.layer, ranked.home, strict=True):
            opening = sum(reach[c][0] for c in inside if spans[c][0] == layer)
            closing = sum(reach[c][1] for c in inside if spans[c][1] == layer)
            before[layer] = max(before[layer], opening)
            after[layer] = max(after[layer], closing)
        starts, stops, at = [], [], 0.0
        for i in range(count):
            starts.append(at + before[i])
            stops.append(starts[i] + thick[i])
            gap = gaps[i] + min(140.0, _STEEP * slopes[i])
            at = stops[i] + max(gap - before[i + 1], after[i] + LANE)
        return Columns(starts, stops, reach)


def _reach(
    ranked: Ranked, along: list[float], direction: str
) -> tuple[dict[Cluster, tuple[float, float]], dict[Cluster, tuple[int, int]]]:
    """How far each frame reaches before and behind its boxes, and its first and last layer."""
    spans: dict[Cluster, tuple[int, int]] = {}
    longest: dict[Cluster, float] = {}
    for i, size in enumerate(along):
        layer = ranked.layer[i]
        for cluster in ranked.home[i]:
            first, last = spans.get(cluster, (layer, layer))
            spans[cluster] = min(first, layer), max(last, layer)
            longest[cluster] = max(longest.get(cluster, 0.0), size)
    if direction == "down":
        return dict.fromkeys(spans, (FRAME_PAD + FRAME.height, FRAME_PAD)), spans
    reach = {}
    for cluster, (first, last) in spans.items():
        lack = title_width(cluster[0]) - longest[cluster] - (last - first) * _GAP["right"]
        reach[cluster] = (max(FRAME_PAD, lack / 2),) * 2
    return reach, spans
