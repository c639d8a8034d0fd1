"""Preprocessing as ONNX nodes: an image of any size becomes the network's input, as Preprocess makes it.

The nodes are written by hand: an exporter's resize works on floats and weights the border otherwise, which is 7 to 28
grey levels off; Resize on uint8 with `antialias` and `exclude_outside` is at most 1 (bicubic: 2) off Pillow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.backbones.preprocess import Preprocess
from headstart.onnx_export.graph_builder import GraphBuilder

PREPARED = "prepared"  # the value between the two halves: N×3×S×S uint8
_MOST_RESIZED = 16_000_000  # pixels after the resize; of longer strips only the middle is resized, as Preprocess does
_HEIGHT, _WIDTH = 2, 3  # axes of 1×3×H×W
_SMOOTH: dict[str, dict[str, Any]] = {
    "bilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5},
}


def add_preparation(graph: GraphBuilder, preprocess: Preprocess, image: str, *, output: str = PREPARED) -> str:
    """Resize and crop: H×W×3 uint8, any size from 1×1, → 1×3×S×S uint8; as `Preprocess.prepare`."""
    pixels = graph.add("Unsqueeze", graph.add("Transpose", image, perm=[2, 0, 1]), graph.constant([0]))
    if preprocess.fit == "keep":
        for axis, other in ((_HEIGHT, _WIDTH), (_WIDTH, _HEIGHT)):
            pixels = _middle_of_long_strip(graph, preprocess, pixels, axis=axis, other=other)
    sides = _resized(graph, preprocess, pixels)
    resized = _resize(graph, preprocess, pixels, sides=sides)
    return _center_crop(graph, preprocess, resized, sides=sides, output=output)


def add_normalisation(graph: GraphBuilder, preprocess: Preprocess, prepared: str) -> str:
    """N×3×S×S uint8 → N×3×S×S float32; as `Preprocess.normalise`, with the same rounding."""
    mean, std = (np.array(values, dtype=np.float64).reshape(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    scale = graph.constant(1 / (255 * std), np.float32)
    shift = graph.constant(-mean / std, np.float32)
    return graph.add("Add", graph.add("Mul", graph.cast(prepared, np.float32), scale), shift)


def _length(graph: GraphBuilder, pixels: str, axis: int) -> str:
    return graph.add("Shape", pixels, start=axis, end=axis + 1)  # a tensor of one number


def _middle_of_long_strip(graph: GraphBuilder, preprocess: Preprocess, pixels: str, *, axis: int, other: int) -> str:
    """Of a strip whose resized form would not fit into memory (1×5000 …) the middle; anything else as it is."""
    ratio = _MOST_RESIZED // preprocess.resize**2
    length, across = _length(graph, pixels, axis), _length(graph, pixels, other)
    most = graph.add("Mul", across, graph.constant([max(ratio, 2)]))
    over = graph.add("Max", graph.add("Sub", length, most), graph.constant([0]))
    start = graph.add("Div", over, graph.constant([2]))  # as much at both ends, so that the middle stays
    return graph.slice(pixels, start, graph.add("Sub", length, start), axis=axis)


def _resized(graph: GraphBuilder, preprocess: Preprocess, pixels: str) -> tuple[str, str]:
    """Height and width after the resize; `resize · long // short` in whole numbers."""
    if preprocess.fit == "stretch":
        side = graph.constant([preprocess.resize])
        return side, side
    height, width = _length(graph, pixels, _HEIGHT), _length(graph, pixels, _WIDTH)
    short, side = graph.add("Min", height, width), graph.constant([preprocess.resize])
    new = [graph.add("Div", graph.add("Mul", length, side), short) for length in (height, width)]
    return new[0], new[1]


def _resize(graph: GraphBuilder, preprocess: Preprocess, pixels: str, *, sides: tuple[str, str]) -> str:
    if preprocess.interpolation == "nearest":
        for axis, wanted in zip((_HEIGHT, _WIDTH), sides, strict=True):
            pixels = graph.add("Gather", pixels, _nearest(graph, _length(graph, pixels, axis), wanted), axis=axis)
        return pixels
    sizes = graph.add("Concat", graph.constant([1, 3]), *sides, axis=0)
    return graph.add(
        "Resize",
        pixels,
        "",
        "",
        sizes,
        antialias=1,
        exclude_outside=1,
        coordinate_transformation_mode="half_pixel",
        **_SMOOTH[preprocess.interpolation],
    )


def _nearest(graph: GraphBuilder, length: str, wanted: str) -> str:
    """Index of the source pixel under the centre of each wanted one, summed up step by step as Pillow does."""
    step = graph.add("Div", graph.cast(length, np.float64), graph.cast(wanted, np.float64))
    first = graph.add("Div", step, graph.constant([2.0], np.float64))
    others = graph.add("Expand", step, graph.add("Sub", wanted, graph.constant([1])))
    steps = graph.add("Concat", first, others, axis=0)
    return graph.cast(graph.add("CumSum", steps, graph.constant(0)), np.int64)


def _center_crop(
    graph: GraphBuilder, preprocess: Preprocess, pixels: str, *, sides: tuple[str, str], output: str
) -> str:
    """The centred square, with a black border where the image is smaller; offsets are rounded half to even."""
    crop = graph.constant([preprocess.crop])
    if preprocess.resize < preprocess.crop:
        zero, two = graph.constant([0]), graph.constant([2])
        missing = [graph.add("Max", graph.add("Sub", crop, side), zero) for side in sides]
        before = [graph.add("Div", one, two) for one in missing]
        after = [graph.add("Sub", one, first) for one, first in zip(missing, before, strict=True)]
        pads = graph.add("Concat", zero, zero, *before, zero, zero, *after, axis=0)
        pixels = graph.add("Pad", pixels, pads, graph.constant(0, np.uint8), mode="constant")
        sides = (graph.add("Max", sides[0], crop), graph.add("Max", sides[1], crop))
    starts = [_half_to_even(graph, graph.add("Sub", side, crop)) for side in sides]
    begin = graph.add("Concat", *starts, axis=0)
    end = graph.add("Add", begin, crop)
    return graph.add("Slice", pixels, begin, end, graph.constant([_HEIGHT, _WIDTH]), name=output)


def _half_to_even(graph: GraphBuilder, number: str) -> str:
    """Half of a whole number, rounded as Python's `round` does."""
    half = graph.add("Mul", graph.cast(number, np.float64), graph.constant([0.5], np.float64))
    return graph.cast(graph.add("Round", half), np.int64)
