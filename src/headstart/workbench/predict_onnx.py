"""predict with an ONNX file: the same verb without torch, which answers within a second of its start."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.classifier.predictions import Prediction, Predictions
from headstart.classifier.rejection import Rejection
from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.video import Frame, open_video
from headstart.errors import ClassifierError, RecipeError
from headstart.evaluation.sense import check_numbers
from headstart.output_paths import writable_folder
from headstart.progress import OnEvent, ProgressReporter, silent
from headstart.public_api import public_api
from headstart.recipe import Recipe
from headstart.untrusted import Untrusted, read_bytes
from headstart.workbench.prediction_files import (
    files_of,
    tables_of,
    write_all,
)
from headstart.workbench.video_frames import Sources

INSTALL = "pip install onnxruntime"
_MOST_BYTES = 2**31  # what one ONNX file holds


def is_onnx(file: str | Path) -> bool:
    """Whether a file is an ONNX file by its name."""
    return str(file).lower().endswith(".onnx")


@public_api
def predict_onnx(
    file: str | Path,
    images: Any,
    *,
    csv: str | Path | None = None,
    out: str | Path | None = None,
    format: str | None = None,
    sort_into: str | Path | None = None,
    threshold_policy: str | None = None,
    reject: str | Sequence[str] | None = None,
    every: float | str | None = None,
    frames: int | None = None,
    on: object = None,
    on_event: OnEvent | None = None,
    options: Mapping[str, object] | None = None,
) -> Predictions:  # thirteen: as for `predict`
    """Classify image files and all images of folders with a file that `headstart export` wrote.

    Args:
        images: one or several files, folders, patterns and archives. csv, out, format, sort_into, threshold_policy,
            reject, every, frames: as for `predict`.
        on, options: those of `predict`; what would have no effect is refused.

    Raises:
        ClassifierError: the file cannot be run. DataError: a path does not exist, or a folder holds no image.
        RunError: the table cannot be written. RecipeError: an option has no effect here.
    """
    _refuse(options or {})
    if on is not None:
        raise RecipeError(
            expected="a .safetensors file, which workers open", found=str(file), where="--on", hint="Leave out --on."
        )
    tables, roots = tables_of(csv, out, format), dict[Path, str]()
    copies = None if sort_into is None else writable_folder(sort_into, "--sort-into")
    given = Sources(files_of(images, roots, video=lambda source: open_video(source, every, frames)))
    given.check(every=every, frames=frames, sort_into=sort_into)
    rejection = Rejection.of(threshold_policy, reject)
    classifier = open_onnx(file)
    rejection.check(classifier.card)
    count = given.count
    predictions, progress = Predictions(), ProgressReporter(on_event or silent, "predict")
    for prediction in given.answers(stream_onnx(classifier, given.images())):
        predictions.append(rejection.apply(prediction))
        progress(len(predictions), max(count, len(predictions)))
    return write_all(predictions, classifier.classes, tables=tables, sort_into=copies, roots=roots)


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


def open_onnx(file: str | Path, *, threads: int = 0) -> Any:
    """The `OnnxClassifier` of a file.

    Args:
        threads: of one prediction; 0: as many as this process has cores.

    Raises:
        ClassifierError: onnxruntime is missing, or it cannot run the file.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ClassifierError(
            expected="the package onnxruntime", found="none", where=str(file), hint=f"Install it: {INSTALL}"
        )
    from headstart.runtime_onnx import OnnxClassifier  # here: it needs onnxruntime

    try:
        opened = OnnxClassifier(read_bytes(Path(file), _MOST_BYTES), threads=threads or runtime.cores())
        _check_sense(opened)
        return opened
    except FileNotFoundError as error:
        raise _wrong(file, "no such file") from error
    except (OSError, Untrusted) as error:
        raise _wrong(file, getattr(error, "strerror", None) or str(error)) from error
    except ValueError as error:
        raise _wrong(file, str(error)) from error


def _check_sense(classifier: Any) -> None:
    """Check the numbers of an `OnnxClassifier`'s card, which its checksum says nothing about.

    Raises:
        Untrusted: one is out of its range, or does not go with the others.
    """
    card, held_out = classifier.card, classifier.known.get("distances", ())
    for part in ("data", "metrics", "familiarity", "conformal"):
        check_numbers(card.get(part), part)
    data, familiarity = card.get("data") or {}, card.get("familiarity") or {}
    if isinstance(data, dict) and data.get("classes", card["classes"]) != card["classes"]:
        raise Untrusted(f"classes in its card that are not those of its training images: {data['classes']!r:.60}")
    threshold = familiarity.get("threshold")
    if any(low > high for low, high in pairwise((0.0, *held_out))):
        raise Untrusted("distances of held-out images that are not sorted")
    if threshold is not None and held_out and not held_out[0] - 1e-6 <= threshold <= held_out[-1] + 1e-6:
        raise Untrusted(f"a threshold of {threshold:g} for distances from {held_out[0]:g} to {held_out[-1]:g}")


def rules_of(classifier: Any) -> ImageRules:
    """How an `OnnxClassifier` wants images to be opened; damaged ones are used as far as they go.

    Raises:
        ClassifierError: its card does not say.
    """
    card = classifier.card
    try:
        red, green, blue = (int(value) for value in card["background"])
        depth = int(card.get("bit_depth", 16))
        if not (8 <= depth <= 16 and all(0 <= one <= 255 for one in (red, green, blue))):
            raise ValueError(f"{card['background']} and {depth}")
    except (KeyError, TypeError, ValueError) as error:
        raise _wrong("its card", f"no background or bit depth: {error}") from error
    return ImageRules(background=(red, green, blue), bit_depth=depth, keep_damaged=True)


def stream_onnx(classifier: Any, images: Iterable[Path | bytes | Frame]) -> Iterator[Prediction]:
    """Predictions one after another, in order; an unreadable image has its reason in `error`."""
    rules = rules_of(classifier)
    for image in images:
        if isinstance(image, Frame):
            yield Prediction(name=image.name, **classifier.answer(_run(classifier, image.rgb)))
            continue
        name = str(image) if isinstance(image, Path) else "<bytes>"
        try:
            opened = open_image(image, rules)
        except BadImage as bad:
            yield Prediction(name=name, label=None, probability=0.0, probabilities={}, error=bad.reason)
            continue
        answer = classifier.answer(_run(classifier, opened.rgb))
        yield Prediction(name=name, damaged=opened.damage or opened.suspicion, **answer)


def _run(classifier: Any, rgb: Any) -> Any:
    try:
        return classifier.run(rgb)
    except ValueError as error:
        raise _wrong("its graph", str(error)) from error


def _wrong(file: object, found: str) -> ClassifierError:
    return ClassifierError(
        expected="an ONNX file of headstart", found=found, where=str(file), hint="Make one with: headstart export RUN"
    )
