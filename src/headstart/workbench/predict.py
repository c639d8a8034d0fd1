"""predict: classes and calibrated probabilities for new image files and folders, in the given order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from headstart import files
from headstart.classifier.classifier import Classifier
from headstart.classifier.predictions import Prediction, Predictions
from headstart.data.image_set import scan_unlabelled
from headstart.data.image_source import is_image_source, list_sources
from headstart.errors import RunError
from headstart.progress import OnEvent, print_event
from headstart.recipe import PredictOptions, Recipe, takes
from headstart.workbench.run import Run, Trained, classifier_of, write_table
from headstart.workbench.session import Session


@takes(PredictOptions)
def predict(
    classifier: Trained,
    images: Any,
    *,
    csv: str | Path | None = None,
    sort_into: str | Path | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[PredictOptions],
) -> Predictions:
    """Classify image files and all images of folders, or images in memory.

    Args:
        classifier: a file, the folder of a run, a Run, or a loaded Classifier.
        images: one or several of: files; folders, each for its images sorted by name; addresses, fetched unless
            `offline`; and whatever `Classifier.predict` takes (arrays, tensors, Pillow images, bytes, a Dataset).
        sort_into: also copy each image file into `<sort_into>/<class>/`, those that cannot be read into
            `<sort_into>/_unreadable/`; nothing is moved, a name that is taken gets a number.
        csv: also write path, class, probability, the probability of every class, and the reason of unreadable and
            damaged images.

    Returns:
        One Prediction per image, in order, as a list with `to_frame` and `to_dict`; an unreadable image has its reason
        in `error`, and a damaged one, of which a part could be decoded, in `damaged`.

    Raises:
        ClassifierError: the classifier cannot be opened.
        DataError: a path does not exist, or a folder holds no image.
        RunError: the csv cannot be written; if its folder is missing, before anything is computed.
    """
    session = Session(recipe, options, on_event)
    if csv is not None and not Path(csv).absolute().parent.is_dir():
        raise RunError(
            expected="a folder for the table", found="no such folder", where=csv, hint="Create the folder first."
        )
    model = classifier_of(classifier, verb="predict", images=images)
    given = [image for source in _several(images) for image in _images_of(source)]
    forward = session.forward(model.backbone, waiting=len(given))
    progress, predictions = session.progress("predict"), Predictions()
    for prediction in model.stream(
        given,
        workers=session.workers,
        batch_size=session.recipe.batch_size,
        forward=forward,
        network=not session.recipe.offline,
    ):
        predictions.append(prediction)
        progress(len(predictions), len(given))
    session.detail(f"{len(predictions):,} predictions by {model!r}, opened from {_place(classifier)}")
    if csv is not None:
        _write_csv(Path(csv), predictions, model.classes)
    if sort_into is not None:
        _sort(predictions, Path(sort_into))
    return predictions


def _place(classifier: Trained) -> str:
    if isinstance(classifier, Classifier):
        return "memory"
    return str((classifier.folder if isinstance(classifier, Run) else Path(classifier)).absolute())


def _several(images: object) -> Sequence[object]:
    if isinstance(images, (list, tuple)):
        return images
    return [images] if isinstance(images, (str, os.PathLike)) or is_image_source(images) else list_sources(images)


def _images_of(source: object) -> Sequence[object]:
    """The images of a file or folder; anything else is one image itself."""
    if not isinstance(source, (str, os.PathLike)) or "://" in str(source):
        return [source]
    return scan_unlabelled([Path(source)])


def _sort(predictions: Sequence[Prediction], folder: Path) -> None:
    for prediction in predictions:
        source = Path(prediction.name)
        if os.path.isfile(source):  # noqa: PTH113  # False for names that no disk can hold
            files.copy_into(source, folder / _folder_name(prediction.label or "_unreadable"))


def _folder_name(label: str) -> str:
    """A class as the name of one folder: class names come out of files, and may hold anything."""
    plain = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in label).strip(". ")
    return plain[:100] or "_"


def _write_csv(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    header = ["path", "predicted", "probability", *[f"p({name})" for name in classes], "error", "damaged"]
    rows = ([p.name, p.label or "", *_numbers(p, classes), p.error or "", p.damaged or ""] for p in predictions)
    write_table(path, header, rows)


def _numbers(prediction: Prediction, classes: Sequence[str]) -> list[str]:
    if prediction.error:
        return [""] * (len(classes) + 1)
    return [f"{value:.6f}" for value in (prediction.probability, *(prediction.probabilities[c] for c in classes))]
