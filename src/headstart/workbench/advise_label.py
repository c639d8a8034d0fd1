"""advise_label: which unlabelled images to label next, by the classifier of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from headstart.advice.next_to_label import LabelCandidate, choose_to_label
from headstart.classifier.classifier import Classifier
from headstart.data.image_set import scan_unlabelled
from headstart.data.unlabelled import UNLABELLED
from headstart.data.worker_sources import training_words
from headstart.errors import DataError, RecipeError
from headstart.features.matrix import Features
from headstart.options import PredictOptions, takes
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.workbench.run import Run
from headstart.workbench.session import Session


@dataclass(frozen=True, kw_only=True)
class ImageToLabel(Plain):
    """An image to label: its path, what the classifier says now, and why it is worth a label.

    Args:
        probability: of the class that is predicted.
    """

    path: str
    predicted: str
    probability: float
    runner_up: str
    candidate: LabelCandidate


@dataclass(frozen=True, kw_only=True)
class LabelAdvice(Plain):
    """The images to label next, the most useful first.

    Args:
        unlabelled: images that were looked at. chosen: those to label, in this order.
        sure: share of the unlabelled images that the classifier is sure of (margin above 0.9).
        command: to type when they lie in the folders of their classes.
    """

    run: str
    unlabelled: int
    chosen: tuple[ImageToLabel, ...]
    sure: float
    command: str


@takes(PredictOptions)
def advise_label(
    run: str | Path | Run,
    images: str | Path | Sequence[str | Path] | None = None,
    *,
    count: int = 20,
    on_event: OnEvent | None = print_event,
    **options: Unpack[PredictOptions],
) -> LabelAdvice:
    """Choose the unlabelled images whose labels would teach a run's classifier most.

    Args:
        run: its folder, or the Run. count: images to choose.
        images: files and folders without labels; None: the folder `unlabelled` beside the classes of the run.

    Raises:
        RunError: it is no run. DataError: there is no image that can be read. RecipeError: the count is below 1.
    """
    if count < 1:
        raise RecipeError(
            expected="a count of at least 1", found=f"{count}", where="--count", hint="Such as --count 20."
        )
    opened = run if isinstance(run, Run) else Run.load(run)
    session = Session(None, options, on_event)
    if images is None:
        images = Path(opened.record["source"]) / UNLABELLED
    named = [Path(images)] if isinstance(images, (str, Path)) else [Path(image) for image in images]
    features = _features(session, opened, scan_unlabelled(named, on_skip=session.notice))
    with session.step("choose images"):
        chosen, sure = images_to_label(opened.classifier, features, count=count, seed=session.recipe.seed)
    return LabelAdvice(
        run=str(opened.folder),
        unlabelled=len(features.names),
        chosen=chosen,
        sure=sure,
        command=shlex.join(training_words(opened.record["source"])),
    )


def images_to_label(
    model: Classifier, features: Features, *, count: int, seed: int = 0
) -> tuple[tuple[ImageToLabel, ...], float]:
    """The images to label next, the most useful first, and the share of all that the classifier is sure of.

    Args:
        features: N×D of the unlabelled images, by the classifier's backbone.
    """
    view = features.view(np.arange(len(features.names)), model.head.stages, unit=model.head.scales)
    probabilities = model.head.probabilities_of(view)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    chosen = tuple(
        ImageToLabel(
            path=features.names[one.index],
            predicted=model.classes[order[one.index, 0]],
            probability=float(probabilities[one.index, order[one.index, 0]]),
            runner_up=model.classes[order[one.index, 1]],
            candidate=one,
        )
        for one in choose_to_label(view.array(), probabilities, count=count, seed=seed)
    )
    top = np.sort(probabilities, axis=1)
    return chosen, float((top[:, -1] - top[:, -2] > 0.9).mean())


def _features(session: Session, run: Run, paths: Sequence[Path]) -> Features:
    """Features of the images that can be read; the others are reported."""
    model = run.classifier
    backbone, progress = model.backbone, session.progress("extract features")
    forward = session.forward(backbone, len(paths)) or backbone.features
    names, rows, done = list[str](), [np.empty((0, sum(backbone.widths)), np.float32)], 0
    with torch.inference_mode():
        for batch in session.batches(paths, backbone.preprocess, model.rules):
            for position, reason in batch.failures.items():
                session.notice(f"{paths[position]} is left out: {reason}")
            if batch.positions:
                rows.append(forward(backbone.preprocess.normalise(batch.pixels)).cpu().numpy())
                names += [str(paths[position]) for position in batch.positions]
            done += len(batch.positions) + len(batch.failures)
            progress(done, len(paths))
    if not names:
        raise DataError(
            expected="an image that can be read",
            found="none",
            where=str(paths[0]),
            hint="headstart audit names what is wrong with each image.",
        )
    slices = {stage: (columns.start, columns.stop) for stage, columns in backbone.slices.items()}
    return Features(np.concatenate(rows), slices, tuple(names), tuple(names))
