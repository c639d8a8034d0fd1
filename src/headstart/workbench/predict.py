"""predict: classes and calibrated probabilities for new image files and folders, in the given order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from typing_extensions import Unpack

from headstart.classifier.classifier import Prediction
from headstart.data.image_set import scan_unlabelled
from headstart.errors import RunError
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe, RunOptions, takes
from headstart.workbench.run import Trained, classifier_of, write_table
from headstart.workbench.session import Session


@takes(RunOptions)
def predict(
    classifier: Trained,
    images: str | Path | Sequence[str | Path],
    *,
    csv: str | Path | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[RunOptions],
) -> list[Prediction]:
    """Classify image files and all images of folders.

    Args:
        classifier: a file, the folder of a run, a Run, or a loaded Classifier.
        images: files and folders; a folder stands for its images sorted by name.
        csv: also write path, class, probability, the probability of every class, and the reason of unreadable images.

    Returns:
        One Prediction per image, in order; an unreadable image has its reason in `error`.

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
    files = scan_unlabelled([Path(images)] if isinstance(images, (str, Path)) else [Path(image) for image in images])
    model = classifier_of(classifier)
    forward = session.forward(model.backbone, waiting=len(files))
    progress, predictions = session.progress("predict"), []
    for prediction in model.stream(
        files, workers=session.workers, batch_size=session.recipe.batch_size, forward=forward
    ):
        predictions.append(prediction)
        progress(len(predictions), len(files))
    if csv is not None:
        _write_csv(Path(csv), predictions, model.classes)
    return predictions


def _write_csv(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    header = ["path", "predicted", "probability", *[f"p({name})" for name in classes], "error"]
    rows = ([p.name, p.label or "", *_numbers(p, classes), p.error or ""] for p in predictions)
    write_table(path, header, rows)


def _numbers(prediction: Prediction, classes: Sequence[str]) -> list[str]:
    if prediction.error:
        return [""] * (len(classes) + 1)
    return [f"{value:.6f}" for value in (prediction.probability, *(prediction.probabilities[c] for c in classes))]
