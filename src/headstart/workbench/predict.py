"""predict: classes and calibrated probabilities for new image files and folders, in the given order."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from headstart.classifier.classifier import Classifier
from headstart.classifier.predictions import Predictions
from headstart.classifier.rejection import Rejection
from headstart.data.folder_scan import IMAGE_SUFFIXES
from headstart.data.image_set import scan_unlabelled
from headstart.data.image_source import is_address, is_image_source, list_sources
from headstart.data.video import Video, is_video, open_video
from headstart.distributed.engine import On, cluster_of
from headstart.errors import RecipeError
from headstart.options import PredictOptions, takes
from headstart.output_paths import writable_folder
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.wording import counted
from headstart.workbench.predict_onnx import is_onnx, predict_onnx
from headstart.workbench.prediction_files import (
    PredictedShards,
    expand,
    tables_of,
    write_all,
)
from headstart.workbench.run import Run, Trained, classifier_of
from headstart.workbench.session import Session
from headstart.workbench.video_frames import Sources


@takes(PredictOptions)
def predict(
    classifier: Trained,
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
    on: On | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[PredictOptions],
) -> Predictions | PredictedShards:  # thirteen: what to predict, and each form that the answers can take
    """Classify image files and all images of folders, or images in memory.

    Args:
        classifier: a file, the folder of a run, a Run, a loaded Classifier, or an ONNX file of `headstart export`, with
            which images are files and folders.
        images: one or several of: files; folders, each for its images sorted by name; patterns such as `*.jpg` and
            `**/*.jpg`; zip and tar archives, whose images are named `photos.zip/…`; addresses, fetched unless
            `offline`; videos and cameras (`film.mp4`, `camera:0`; with `headstart[video]`), whose frames are named
            `film.mp4@00:00:03.0`; and whatever `Classifier.predict` takes (arrays, tensors, Pillow images, bytes, a
            Dataset).
        sort_into: also copy each image file into `<sort_into>/<class>/`, those that cannot be read into
            `<sort_into>/_unreadable/`; nothing is moved, a name that is taken gets a number.
        csv: also write path, class, probability, the probability of every class, and the reason of unreadable and
            damaged images.
        on: where images are read and classified: local (worker processes), ray, spark, or a Cluster; then `images` is
            one source, as for `train` (Parquet and webdataset tars too), and the predictions are in the Parquet file
            `out`, by default predictions.parquet. None: this process.
        out, format: write the same as csv, json (a list of records) or parquet (with pyarrow); without `out` into
            `predictions.FORMAT`, without `format` by the name of `out`.
        threshold_policy: `keep`: each answer keeps its class, and says whether its image is unfamiliar and which
            classes cannot be ruled out; `reject`: those of the kinds in `reject` get no class, and their reason in
            `rejected`. None: reject where `reject` is given.
        reject: some of `unfamiliar`, `unsure` (several classes cannot be ruled out) and `atypical` (no class is close
            enough), in a text with commas or as a list; None: unfamiliar, where the policy is `reject`.
        every: time between two frames of a video, in seconds or as `1s`, `500ms`; None: 1 second.
        frames: of a video, so many at most; None: all of a file, of a camera until Ctrl-C.

    Returns:
        One Prediction per image, in order, as a list with `to_frame` and `to_dict`; an unreadable image has its reason
        in `error`, and a damaged one, of which a part could be decoded, in `damaged`. With `on`, their counts.

    Raises:
        ClassifierError: the classifier cannot be opened.
        DataError: a path does not exist, or a folder holds no image.
        RunError: the csv cannot be written; if its folder is missing, before anything is computed.
    """
    if isinstance(classifier, (str, Path)) and is_onnx(classifier):
        return predict_onnx(classifier, images, csv=csv, out=out, format=format, sort_into=sort_into, on_event=on_event,
                            threshold_policy=threshold_policy, reject=reject, every=every, frames=frames, on=on,
                            options=options)  # fmt: skip
    session = Session(recipe, options, on_event)
    if on is not None:
        _check_table_options(
            csv, format, sort_into, threshold_policy=threshold_policy, reject=reject, every=every, frames=frames
        )
        return _on_workers(session, on, classifier, images=images, out=Path(out or "predictions.parquet"))
    tables = tables_of(csv, out, format) if csv or out or format else {}
    rejection = Rejection.of(threshold_policy, reject) if threshold_policy or reject else None
    copies = None if sort_into is None else writable_folder(sort_into, "--sort-into")
    model = classifier_of(classifier, verb="predict", images=images)
    if rejection is not None:
        rejection.check(model.card.to_dict())
    roots: dict[Path, str] = {}
    read = functools.partial(_images_of, roots=roots, session=session, every=every, frames=frames)
    given = [image for source in _several(images) for image in read(source)]
    if every is not None or frames is not None or any(isinstance(one, Video) for one in given):
        sources = Sources(given)
        sources.check(every=every, frames=frames, sort_into=sort_into)
        predictions = _answers_of_videos(session, model, sources, rejection=rejection)
    else:
        predictions = _answers(session, model, given, rejection=rejection)
    session.detail(f"{len(predictions):,} predictions by {model!r}, opened from {_place(classifier)}")
    if not (tables or copies or roots):  # the way of most calls stays short
        return predictions
    return write_all(predictions, model.classes, tables=tables, sort_into=copies, roots=roots)


def _answers(session: Session, model: Classifier, given: Sequence[Any], *, rejection: Rejection | None) -> Predictions:
    """The predictions in the order of the images; without videos, the way of most calls stays short."""
    forward = session.forward(model.backbone, waiting=len(given))
    progress, predictions = session.progress("predict"), Predictions()
    for prediction in model.stream(
        given,
        workers=session.workers,
        batch_size=session.recipe.batch_size,
        forward=forward,
        network=not session.recipe.offline,
    ):
        predictions.append(prediction if rejection is None else rejection.apply(prediction))
        progress(len(predictions), len(given))
    return predictions


def _answers_of_videos(
    session: Session, model: Classifier, given: Sources, *, rejection: Rejection | None
) -> Predictions:
    """The predictions in the order of the frames, and of the images between them; a camera is asked until Ctrl-C."""
    count, has_camera = given.count, given.has_camera
    forward = session.forward(model.backbone, waiting=count)
    progress, predictions = session.progress("predict"), Predictions()
    size = given.batch_size(session.recipe.batch_size)
    network, workers = not session.recipe.offline, session.workers
    stream = model.stream(given.images(), workers=workers, batch_size=size, forward=forward, network=network)
    with session.signs_of_life("predict"):
        try:
            for prediction in given.answers(stream):
                predictions.append(prediction if rejection is None else rejection.apply(prediction))
                if has_camera:
                    session.notice(str(predictions[-1]))
                else:
                    progress(len(predictions), max(count, len(predictions) + 1))
        except KeyboardInterrupt:
            if not has_camera:
                raise
            session.notice(f"Stopped after {counted(len(predictions), 'frame')}.")
    progress(len(predictions), len(predictions))
    return predictions


def _on_workers(session: Session, on: On, classifier: Trained, *, images: Any, out: Path) -> PredictedShards:
    """The predictions in a Parquet file, made by workers."""
    from headstart.workbench.on_cluster import predict_on, source_path  # they need pyarrow

    model, source = classifier_of(classifier, verb="predict", images=images), source_path(session, _only(images))
    return predict_on(session, cluster_of(on), classifier, model, source=source, out=out)


def _check_table_options(csv: object, format: object, sort_into: object, **given: object) -> None:
    """Refuse what workers do not do."""
    given |= {"csv": csv, "format": None if format == "parquet" else format, "sort_into": sort_into}
    if idle := [name.replace("_", "-") for name, value in given.items() if value]:
        raise RecipeError(
            expected="--out FILE.parquet with --on",
            found=f"--{idle[0]}",
            where=f"--{idle[0]}",
            hint="Workers write one Parquet file with all columns; leave out --on for other forms.",
        )


def _only(images: object) -> object:
    if isinstance(images, (list, tuple)) and len(images) != 1:
        raise RecipeError(
            expected="one source with --on",
            found=f"{len(images)}",
            where="images",
            hint="Name their folder, or a pattern of Parquet files or tars in quotes.",
        )
    return images[0] if isinstance(images, (list, tuple)) else images


def _place(classifier: Trained) -> str:
    if isinstance(classifier, Classifier):
        return "memory"
    return str((classifier.folder if isinstance(classifier, Run) else Path(classifier)).absolute())


def _several(images: object) -> Sequence[object]:
    if isinstance(images, (list, tuple)):
        return images
    return [images] if isinstance(images, (str, os.PathLike)) or is_image_source(images) else list_sources(images)


def _images_of(
    source: object, *, roots: dict[Path, str], session: Session, every: float | str | None, frames: int | None
) -> Sequence[object]:
    """The images of a file, folder, pattern or archive, a video as a Video; anything else is one image itself."""
    if not isinstance(source, (str, os.PathLike)):
        return [source]
    path = Path(source)
    if path.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(path):  # noqa: PTH113  # the usual case
        return [path]
    if is_address(source):
        return [source]
    found = expand(source, roots)
    if not any(map(is_video, found)):
        return scan_unlabelled(found, on_skip=session.notice)
    return [
        image
        for one in found
        for image in (
            [open_video(one, every, frames)] if is_video(one) else scan_unlabelled([Path(one)], on_skip=session.notice)
        )
    ]
