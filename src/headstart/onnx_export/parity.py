"""Parity: run an exported file and its classifier on the same images, each from the file to the probability."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier
from headstart.data.images import BadImage, open_image
from headstart.onnx_export.classifier_onnx import preparation_of
from headstart.onnx_export.parity_report import ParityReport, ParityRow
from headstart.onnx_export.preprocess_graph import PREPARED
from headstart.progress import ProgressReporter
from headstart.runtime_onnx import OnnxClassifier

# largest difference of a probability. Two resizes that differ by one grey level here and there moved probabilities by
# 0.0018 at most in the first measurements; a wrong channel order or mean moves them by tenths
TOLERANCES = {"nearest": 1e-4, "bilinear": 0.005, "bicubic": 0.01}
# grey levels of a prepared image. Pillow and torchvision differ by 1, with bicubic by 2; one more for other versions
PIXEL_TOLERANCES = {"nearest": 0, "bilinear": 2, "bicubic": 3}

Images = Mapping[str, Path | bytes]
"""Name → an image file, or the bytes of one."""


def measure_parity(
    model: onnx.ModelProto, classifier: Classifier, images: Images, *, progress: ProgressReporter | None = None
) -> ParityReport:
    """Run a model and the classifier on the same files, each with its own decoding, resize and network.

    Images that headstart itself refuses are left out.
    """
    file = OnnxClassifier(model.SerializeToString())
    preparation = None if file.input == PREPARED else _Preparation(model)
    interpolation = classifier.backbone.preprocess.interpolation
    rows, left_out = list[ParityRow](), dict[str, str]()
    for done, (name, content) in enumerate(images.items(), 1):
        try:
            rgb = open_image(content, classifier.rules).rgb
            own = file.open(content)
        except (BadImage, ValueError) as error:
            left_out[name] = str(error)
            continue
        found = file.probabilities([own])[0].astype(np.float64)
        prepared = classifier.backbone.preprocess.prepare(rgb).numpy()
        pixels = file.prepare(own) if preparation is None else preparation(own)
        rows.append(_row(name, classifier, rgb, found=found, pixels=int(np.abs(prepared.astype(int) - pixels).max())))
        if progress is not None:
            progress(done, len(images))
    return ParityReport(tuple(rows), TOLERANCES[interpolation], PIXEL_TOLERANCES[interpolation], left_out)


class _Preparation:
    """The resize and crop inside a model, as a function: H×W×3 uint8 → 3×S×S uint8."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnxruntime

        half = preparation_of(model).SerializeToString()
        self._session = onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"])

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (prepared,) = self._session.run(None, {self._session.get_inputs()[0].name: rgb})
        pixels: NDArray[np.uint8] = prepared[0]
        return pixels


def _row(
    name: str, classifier: Classifier, rgb: NDArray[np.uint8], *, found: NDArray[np.float64], pixels: int
) -> ParityRow:
    (prediction,) = classifier.stream([rgb])
    by_class = prediction.probabilities
    expected = np.array([by_class[label] for label in classifier.classes])
    highest = np.sort(expected)[::-1]
    return ParityRow(
        name=name,
        expected=classifier.classes[int(expected.argmax())],
        found=classifier.classes[int(found.argmax())],
        difference=float(np.abs(expected - found).max()),
        margin=float(highest[0] - highest[1]) if len(highest) > 1 else 1.0,
        pixels=pixels,
    )
