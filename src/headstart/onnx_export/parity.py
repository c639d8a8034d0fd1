"""Parity: run an exported file and its classifier on the same images, each from the file to the probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from headstart.classifier.answers import Answers
from headstart.classifier.classifier import Classifier
from headstart.classifier.file import EXPORTED
from headstart.data.images import BadImage, open_image
from headstart.errors import ClassifierError
from headstart.evaluation.conformal import ConformalSets, class_scores
from headstart.onnx_export.classifier_onnx import preparation_of
from headstart.onnx_export.openvino_session import NAME as OPENVINO
from headstart.onnx_export.openvino_session import OpenVinoSession
from headstart.onnx_export.parity_report import ONNXRUNTIME, ParityReport, ParityRow
from headstart.onnx_export.preprocess_graph import PREPARED
from headstart.progress import ProgressReporter
from headstart.runtime_onnx import OnnxClassifier

# largest difference of a probability. Two resizes that differ by one grey level here and there moved probabilities by
# 0.0018 at most on Intel processors; on one of AMD torchvision's differs by two in places, which moved one by 0.0074. A
# wrong channel order or mean moves them by tenths
TOLERANCES = {"nearest": 1e-4, "bilinear": 0.01, "bicubic": 0.01}
# an image whose pixels differ by a grey level here and there crosses steps of rounding in an int8 network: 0.06 at most
# on seven classifiers. What the file itself adds shows on the very same pixels: 3e-8
INT8_TOLERANCE = 0.1
SAME_PIXELS_TOLERANCE = 1e-4
# grey levels of a prepared image. Pillow and torchvision differ by 1, with bicubic by 2; one more for other versions
PIXEL_TOLERANCES = {"nearest": 0, "bilinear": 2, "bicubic": 3}

Images = Mapping[str, Path | bytes]
"""Name → an image file, or the bytes of one."""


def measure_parity(
    model: onnx.ModelProto,
    classifier: Classifier,
    images: Images,
    *,
    engine: str = ONNXRUNTIME,
    progress: ProgressReporter | None = None,
) -> ParityReport:
    """Run a model and the classifier on the same files, each with its own decoding, resize and network.

    Images that headstart itself refuses are left out.

    Args:
        engine: what runs the file: onnxruntime or openvino.
    """
    file = _opened(model)
    if engine == OPENVINO:
        file.session = OpenVinoSession(model.SerializeToString())
    preparation = None if file.input == PREPARED else _Preparation(model)
    interpolation = classifier.backbone.preprocess.interpolation
    rows, left_out, is_int8 = list[ParityRow](), dict[str, str](), classifier.backbone.low_precision is not None
    for done, (name, content) in enumerate(images.items(), 1):
        try:
            rgb = open_image(content, classifier.rules).rgb
            own = file.open(content)
        except (BadImage, ValueError) as error:
            left_out[name] = str(error)
            continue
        found = {output: rows[0] for output, rows in _answers(file, own).items()}
        prepared = classifier.backbone.preprocess.prepare(rgb)
        pixels = file.prepare(own) if preparation is None else preparation(own)
        off = int(np.abs(prepared.numpy().astype(int) - pixels).max())
        row = _row(name, classifier, classifier.answers(prepared[None]), found=found, pixels=off)
        rows.append(_with_same_pixels(row, classifier, pixels) if is_int8 else row)
        if progress is not None:
            progress(done, len(images))
    return ParityReport(
        rows=tuple(rows),
        tolerance=INT8_TOLERANCE if is_int8 else TOLERANCES[interpolation],
        same_pixels_tolerance=SAME_PIXELS_TOLERANCE if is_int8 else None,
        pixel_tolerance=PIXEL_TOLERANCES[interpolation],
        left_out=left_out,
        classes=classifier.classes,
        engine=engine,
    )


def _opened(model: onnx.ModelProto) -> OnnxClassifier:
    try:
        return OnnxClassifier(model.SerializeToString())
    except ValueError as error:
        raise _unusable(error) from error


def _answers(file: OnnxClassifier, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    try:
        return file.run(image)
    except ValueError as error:
        raise _unusable(error) from error


def _unusable(error: ValueError) -> ClassifierError:
    hint = "Make another one: headstart export RUN"
    return ClassifierError(expected="an ONNX file that answers", found=str(error), where=EXPORTED, hint=hint)


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


def _with_same_pixels(row: ParityRow, classifier: Classifier, pixels: NDArray[np.uint8]) -> ParityRow:
    """A row with what the file and the classifier differ by on the file's own prepared pixels 3×S×S."""
    (expected,) = classifier.answers(torch.from_numpy(pixels)[None]).probabilities
    return replace(row, same_pixels=float(np.abs(expected - np.array(row.found_probabilities)).max()))


def _row(name: str, classifier: Classifier, answers: Answers, *, found: Mapping[str, Any], pixels: int) -> ParityRow:
    expected, probabilities = answers.probabilities[0], found["probabilities"].astype(np.float64)
    highest = np.sort(expected)[::-1]
    distance = set_margin = own_set_margin = None
    if answers.measured is not None and "familiar" in found:
        distance = float(abs(answers.measured.distances[0] - found["familiar"]))
    if answers.sets is not None and classifier.conformal is not None and "set" in found:
        set_margin = _set_margin(classifier.conformal, answers.probabilities, found["set"])
        own_set_margin = _set_margin(classifier.conformal, probabilities[None], found["set"])
    return ParityRow(
        name=name,
        expected=classifier.classes[int(expected.argmax())],
        found=classifier.classes[int(probabilities.argmax())],
        difference=float(np.abs(expected - probabilities).max()),
        margin=float(highest[0] - highest[1]) if len(highest) > 1 else 1.0,
        pixels=pixels,
        distance=distance,
        set_margin=set_margin,
        own_set_margin=own_set_margin,
        expected_probabilities=tuple(expected.tolist()),
        found_probabilities=tuple(probabilities.tolist()),
    )


def _set_margin(conformal: ConformalSets, probabilities: NDArray[np.float64], found: NDArray[np.bool_]) -> float:
    """How far the scores of the classes that only one of two sets has are from their thresholds; 0: the same set.

    Args:
        probabilities: 1×C, that give the one set. found: C, which classes are in the other.
    """
    scores = class_scores(probabilities, conformal.method)[0]
    differ = conformal.sets(probabilities).contains[0] != found
    return float(np.abs(scores - conformal.thresholds)[differ].max(initial=0.0))
