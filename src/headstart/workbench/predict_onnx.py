"""predict with an ONNX file: the same verb without torch, which answers within a second of its start."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart import runtime
from headstart.classifier.predictions import Prediction, Predictions
from headstart.data.images import BadImage, ImageRules, open_image
from headstart.errors import ClassifierError, RecipeError
from headstart.progress import OnEvent, ProgressReporter, silent
from headstart.public_api import public_api
from headstart.recipe import Recipe
from headstart.untrusted import Untrusted, read_bytes
from headstart.workbench.prediction_files import (
    files_of,
    sort_images,
    tables_of,
    with_archive_names,
    write_predictions,
)

INSTALL = "pip install onnxruntime"
_MOST_BYTES = 2**31  # what one ONNX file holds


@public_api
def predict_onnx(
    file: str | Path,
    images: Any,
    *,
    csv: str | Path | None = None,
    out: str | Path | None = None,
    format: str | None = None,
    sort_into: str | Path | None = None,
    on_event: OnEvent | None = None,
    options: Mapping[str, object] | None = None,
) -> Predictions:  # eight: as for `predict`
    """Classify image files and all images of folders with a file that `headstart export` wrote.

    Args:
        images: one or several files, folders, patterns and archives. csv, out, format, sort_into: as for `predict`.
        options: those of `predict`; one that would have no effect is refused.

    Raises:
        ClassifierError: the file cannot be run. DataError: a path does not exist, or a folder holds no image.
        RunError: the table cannot be written. RecipeError: an option has no effect here.
    """
    _refuse(options or {})
    tables, roots = tables_of(csv, out, format), dict[Path, str]()
    given = files_of(images, roots)
    classifier = open_onnx(file)
    predictions, progress = Predictions(), ProgressReporter(on_event or silent, "predict")
    for prediction in stream_onnx(classifier, given):
        predictions.append(prediction)
        progress(len(predictions), len(given))
    if sort_into is not None:
        sort_images(predictions, Path(sort_into))
    predictions = with_archive_names(predictions, roots)
    for path, kind in tables.items():
        write_predictions(path, predictions, classifier.classes, kind=kind)
    return predictions


def _refuse(options: Mapping[str, object]) -> None:
    usual = Recipe()
    for name, value in options.items():
        if value != getattr(usual, name, None) and name != "offline":
            raise RecipeError(
                expected="an ONNX file without this option, since it runs by itself on the CPU",
                found=f"{name}={value!r}",
                where=f"--{name.replace('_', '-')}",
                hint="Leave it out, or name the classifier that the file was made from.",
            )


def open_onnx(file: str | Path) -> Any:
    """The `OnnxClassifier` of a file, on as many threads as this process has cores.

    Raises:
        ClassifierError: onnxruntime is missing, or it cannot run the file.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ClassifierError(
            expected="the package onnxruntime", found="none", where=str(file), hint=f"Install it: {INSTALL}"
        )
    from headstart.runtime_onnx import OnnxClassifier  # here: it needs onnxruntime

    try:
        return OnnxClassifier(read_bytes(Path(file), _MOST_BYTES), threads=runtime.cores())
    except FileNotFoundError as error:
        raise _wrong(file, "no such file") from error
    except (OSError, Untrusted) as error:
        raise _wrong(file, getattr(error, "strerror", None) or str(error)) from error
    except ValueError as error:
        raise _wrong(file, str(error)) from error


def stream_onnx(classifier: Any, images: Sequence[Path | bytes]) -> Iterator[Prediction]:
    """Predictions one after another, in order; an unreadable image has its reason in `error`."""
    rules = replace(ImageRules(), background=classifier.background, bit_depth=classifier.bit_depth, keep_damaged=True)
    for image in images:
        name = str(image) if isinstance(image, Path) else "<bytes>"
        try:
            opened = open_image(image, rules)
        except BadImage as bad:
            yield Prediction(name=name, label=None, probability=0.0, probabilities={}, error=bad.reason)
            continue
        row = classifier.probabilities([opened.rgb])[0]
        order = np.argsort(-row, kind="stable")
        ranked = {classifier.classes[i]: float(row[i]) for i in order}
        yield Prediction(name, *next(iter(ranked.items())), ranked, damaged=opened.damage)


def _wrong(file: object, found: str) -> ClassifierError:
    return ClassifierError(
        expected="an ONNX file of headstart", found=found, where=str(file), hint="Make one with: headstart export RUN"
    )
