"""predict: classes and calibrated probabilities for new image files and folders, in the given order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from headstart import files
from headstart.classifier.classifier import Classifier
from headstart.classifier.predictions import Predictions
from headstart.data.folder_scan import IMAGE_SUFFIXES
from headstart.data.image_set import scan_unlabelled
from headstart.data.image_source import is_image_source, list_sources
from headstart.options import PredictOptions, takes
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.workbench.predict_onnx import predict_onnx
from headstart.workbench.prediction_files import expand, sort_images, tables_of, with_archive_names, write_predictions
from headstart.workbench.run import Run, Trained, classifier_of
from headstart.workbench.session import Session


@takes(PredictOptions)
def predict(
    classifier: Trained,
    images: Any,
    *,
    csv: str | Path | None = None,
    out: str | Path | None = None,
    format: str | None = None,
    sort_into: str | Path | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[PredictOptions],
) -> Predictions:  # eight: what to predict, and each form that the answers can take
    """Classify image files and all images of folders, or images in memory.

    Args:
        classifier: a file, the folder of a run, a Run, a loaded Classifier, or an ONNX file of `headstart export`, with
            which images are files and folders.
        images: one or several of: files; folders, each for its images sorted by name; patterns such as `*.jpg` and
            `**/*.jpg`; zip and tar archives, whose images are named `photos.zip/…`; addresses, fetched unless
            `offline`; and whatever `Classifier.predict` takes (arrays, tensors, Pillow images, bytes, a Dataset).
        sort_into: also copy each image file into `<sort_into>/<class>/`, those that cannot be read into
            `<sort_into>/_unreadable/`; nothing is moved, a name that is taken gets a number.
        csv: also write path, class, probability, the probability of every class, and the reason of unreadable and
            damaged images.
        out, format: write the same as csv, json (a list of records) or parquet (with pyarrow); without `out` into
            `predictions.FORMAT`, without `format` by the name of `out`.

    Returns:
        One Prediction per image, in order, as a list with `to_frame` and `to_dict`; an unreadable image has its reason
        in `error`, and a damaged one, of which a part could be decoded, in `damaged`.

    Raises:
        ClassifierError: the classifier cannot be opened.
        DataError: a path does not exist, or a folder holds no image.
        RunError: the csv cannot be written; if its folder is missing, before anything is computed.
    """
    if isinstance(classifier, (str, Path)) and str(classifier).lower().endswith(".onnx"):
        return predict_onnx(classifier, images, csv=csv, out=out, format=format, sort_into=sort_into, on_event=on_event,
                            options=options)  # fmt: skip
    session = Session(recipe, options, on_event)
    tables = tables_of(csv, out, format) if csv or out or format else {}
    if sort_into is not None:
        files.check_name(Path(sort_into), expected="a folder that can be written")
    model = classifier_of(classifier, verb="predict", images=images)
    roots: dict[Path, str] = {}
    given = [image for source in _several(images) for image in _images_of(source, roots, session)]
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
    if sort_into is not None:
        sort_images(predictions, Path(sort_into))
    if roots:
        predictions = with_archive_names(predictions, roots)
    for path, kind in tables.items():
        write_predictions(path, predictions, model.classes, kind=kind)
    return predictions


def _place(classifier: Trained) -> str:
    if isinstance(classifier, Classifier):
        return "memory"
    return str((classifier.folder if isinstance(classifier, Run) else Path(classifier)).absolute())


def _several(images: object) -> Sequence[object]:
    if isinstance(images, (list, tuple)):
        return images
    return [images] if isinstance(images, (str, os.PathLike)) or is_image_source(images) else list_sources(images)


def _images_of(source: object, roots: dict[Path, str], session: Session) -> Sequence[object]:
    """The images of a file, folder, pattern or archive; anything else is one image itself."""
    if not isinstance(source, (str, os.PathLike)) or "://" in str(source):
        return [source]
    path = Path(source)
    if path.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(path):  # noqa: PTH113  # the usual case
        return [path]
    return scan_unlabelled(expand(source, roots), on_skip=session.notice)
