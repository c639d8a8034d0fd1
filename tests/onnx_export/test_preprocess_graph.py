"""The preprocessing graph gives what Preprocess gives, and what Pillow gives, for any size and every kind of resize."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from headstart.backbones.preprocess import Preprocess  # noqa: E402
from headstart.onnx_export.graph_builder import GraphBuilder  # noqa: E402  # needs onnx
from headstart.onnx_export.preprocess_graph import add_normalisation, add_preparation  # noqa: E402
from onnx_export.small_graphs import function_of  # noqa: E402

SIZES = [(1, 40), (700, 3), (1, 1), (64, 64), (65, 64), (333, 500), (500, 333), (17, 90), (600, 601)]
RNG = np.random.default_rng(0)


def preprocess(interpolation: str = "bilinear", resize: int = 64, crop: int = 56, fit: str = "keep") -> Preprocess:
    return Preprocess(resize, crop, interpolation, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), fit)


def prepared_by_graph(wanted: Preprocess, images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    graph = GraphBuilder("g")
    add_preparation(graph, wanted, "image")
    run = function_of(graph, "prepared", image=(onnx.TensorProto.UINT8, ["h", "w", 3]))
    return [run(image=image)[0][0] for image in images]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    few = Image.fromarray(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    smooth = np.asarray(few.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return (smooth + RNG.integers(-30, 31, smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("interpolation", "allowed"), [("bilinear", 1), ("bicubic", 2), ("nearest", 0)])
@pytest.mark.parametrize(("resize", "crop"), [(64, 56), (56, 56), (40, 56), (57, 32)])
@pytest.mark.parametrize("fit", ["keep", "stretch"])
def test_pixels_are_those_of_preprocess(interpolation: str, allowed: int, resize: int, crop: int, fit: str) -> None:
    wanted = preprocess(interpolation, resize, crop, fit)
    images = [picture(*size) for size in SIZES]

    for image, found in zip(images, prepared_by_graph(wanted, images), strict=True):
        expected = wanted.prepare(image).numpy().astype(int)
        assert found.shape == expected.shape == (3, crop, crop)
        difference = np.abs(found - expected)
        assert difference.max() <= allowed, image.shape
        assert difference.mean() < 0.1


@pytest.mark.parametrize(("interpolation", "mode"), [("bilinear", "BILINEAR"), ("bicubic", "BICUBIC")])
def test_pixels_are_those_of_pillow(interpolation: str, mode: str) -> None:
    image = picture(300, 200)
    resized = Image.fromarray(image).resize((64, 96), Image.Resampling[mode])
    expected = np.asarray(resized.crop((4, 20, 60, 76))).transpose(2, 0, 1).astype(int)  # 56×56 from the middle

    (found,) = prepared_by_graph(preprocess(interpolation), [image])

    assert np.abs(found - expected).max() <= 2


@pytest.mark.slow
def test_a_strip_of_any_length_fits_into_memory_and_shows_its_middle() -> None:
    line = np.repeat(np.linspace(0, 255, 60_001).astype(np.uint8)[None, :, None], 3, axis=2)

    (found,) = prepared_by_graph(preprocess(), [line])

    assert found.min() == found.max() == 127  # the middle of the ramp, as Preprocess shows it
    assert np.abs(found.astype(int) - preprocess().prepare(line).numpy()).max() <= 1


def test_pixels_are_normalised_with_the_same_rounding() -> None:
    graph, wanted = GraphBuilder("g"), preprocess()
    name = add_normalisation(graph, wanted, "prepared")
    run = function_of(graph, name, prepared=(onnx.TensorProto.UINT8, ["N", 3, 4, 64]))
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 4, 64).repeat(3, axis=1)

    (found,) = run(prepared=values)

    import torch

    assert np.array_equal(found, wanted.normalise(torch.from_numpy(values)).numpy())
    assert found[0, 0, 0, 0] == pytest.approx(-0.485 / 0.229)
