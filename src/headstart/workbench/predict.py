"""predict: classes and calibrated probabilities for new image files and folders, in the order they were named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart import runtime
from headstart.classifier.classifier import Classifier, Prediction
from headstart.data.image_set import scan_unlabelled
from headstart.engines.choose import choose_engine
from headstart.errors import RunError
from headstart.progress import OnEvent, ProgressReporter, print_event
from headstart.recipe import Recipe
from headstart.workbench.prepare import recipe_from
from headstart.workbench.run import write_table


def predict(
    classifier: str | Path | Classifier,
    images: str | Path | Sequence[str | Path],
    *,
    csv: str | Path | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent = print_event,
    **knobs: object,
) -> list[Prediction]:
    """Classify image files and all images of folders.

    Args:
        classifier: a file, the folder of a run, or a loaded Classifier.
        images: files and folders; a folder stands for its images sorted by name.
        csv: also write path, class, probability, the probability of every class, and the reason of unreadable images.
        knobs: fields of Recipe that concern the running: workers, batch_size, device, engine.

    Returns:
        One Prediction for each image, in order; an unreadable image has its reason in `error`.

    Raises:
        ClassifierError: the classifier cannot be opened.
        DataError: a path does not exist, or a folder holds no image.
        RunError: the csv cannot be written; where its folder is missing, before anything is computed.
    """
    recipe = recipe_from(recipe, knobs)
    if csv is not None and not Path(csv).absolute().parent.is_dir():
        raise RunError(
            expected="a place for the table", found="no such folder", where=csv, hint="Make the folder first."
        )
    files = scan_unlabelled([Path(images)] if isinstance(images, (str, Path)) else [Path(image) for image in images])
    model = classifier if isinstance(classifier, Classifier) else Classifier.load(classifier)
    engine = choose_engine(
        model.backbone,
        name=recipe.engine,
        device=runtime.choose_device(recipe.device),
        waiting=len(files),
        batch_size=recipe.batch_size,
        cache_folder=runtime.cache_folder(),
    )
    progress, predictions = ProgressReporter(on_event, "predict"), []
    workers = recipe.workers or runtime.cores()
    for prediction in model.stream(files, workers=workers, batch_size=recipe.batch_size, forward=engine.forward):
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
