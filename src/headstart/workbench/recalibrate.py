"""recalibrate: batch-norm statistics of a finished classifier, measured again on images of the domain it is used in."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from headstart.backbones.backbone import Provenance
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.classifier.classifier import Classifier
from headstart.classifier.predictions import Prediction
from headstart.data.image_set import Sample
from headstart.data.python_source import Source
from headstart.errors import BackboneError, ClassifierError, DataError
from headstart.evaluation.comparison import Comparison, RunPredictions, compare
from headstart.options import RecalibrateOptions, takes
from headstart.output_paths import writable_file
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.workbench.events import FilesWritten
from headstart.workbench.open_model import NOT_TRAINED_ON, image_source, name_of_source, samples_of
from headstart.workbench.run import Run, Trained, classifier_of
from headstart.workbench.session import Session

PRIOR = 16.0
"""Images that the old statistics count for: they balance a few new ones, and are 3 % beside 512."""

_MOST = 512  # images: statistics no longer move by more than a hundredth of their spread, and pixels are 0.1 GB
_IMBALANCED = 3.0  # times as many images of one class as of another: then drawn evenly, and reported if impossible


_READABLE, _AUDIT = "an image that can be read", "headstart audit names what is wrong with each image."


@dataclass(frozen=True)
class Recalibrated(Plain):
    """A classifier with new statistics, and whether it got better.

    Args:
        path: of its file. images: the statistics were measured on. norms: batch norms with new statistics.
        changed: images whose prediction changed. asked: images that both classifiers predicted.
        comparison: before and after on labelled images, in pairs; None without labels.
        same_images: whether both predicted the very images that the statistics are of (without their labels).
    """

    path: Path
    images: int
    norms: int
    prior: float
    changed: int
    asked: int
    comparison: Comparison | None
    same_images: bool

    def __str__(self) -> str:
        lines = [
            f"{self.norms} batch norms have the statistics of {self.images} images (the old ones count for "
            f"{self.prior:g}). The prediction changed for {self.changed} of {self.asked} images."
        ]
        if self.comparison is not None:
            where = "the very images the statistics are of" if self.same_images else "images the statistics are not of"
            lines += [f"A is before, B is after, on {where}.", str(self.comparison)]
        else:
            lines.append("Without labels nothing says whether that is better.")
        return "\n".join(lines)


@takes(RecalibrateOptions)
def recalibrate(
    classifier: Trained,
    source: Source,
    *,
    out: str | Path | None = None,
    prior: float = PRIOR,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[RecalibrateOptions],
) -> Recalibrated:
    """Measure batch-norm statistics on images of the domain in which a classifier is used; weights stay as they are.

    Of a set with splits, the training split gives the statistics and the test split the comparison. Labels are used
    only to draw classes evenly: images of one class alone would distort the statistics.

    Args:
        classifier: a file, the folder of a run, a Run, or a loaded Classifier, which is not changed.
        source: images like those that will come, in class folders or loose; or in memory as for `inspect`.
        out: file to write; default `NAME-recalibrated.safetensors` beside the old one, never overwritten.
        prior: how many images the old statistics count for.

    Raises:
        ClassifierError: the classifier cannot be opened, has no batch norm, or the file exists already.
        DataError: there are no images.

    Source: Li et al. 2016, arXiv:1603.04779 (AdaBN); Schneider et al. 2020, arXiv:2006.16971 (the prior).
    """
    session = Session(recipe, options, on_event)
    target = _target(classifier, out)
    before = classifier_of(classifier, verb="recalibrate", images=source)
    if (low := before.backbone.low_precision) is not None:
        raise ClassifierError(
            expected="a classifier in float32",
            found=f"one in {low.name}, in which batch norm is part of the other weights",
            where="recalibrate",
            hint="Train again with --precision float32, and recalibrate that.",
        )
    where = image_source(session, source)
    asked = samples_of(where, before.classes, NOT_TRAINED_ON, layout=session.layout)
    chosen = _evenly(session, samples_of(where, before.classes, ("train",), layout=session.layout))
    pixels, _ = session.pixels(chosen, before.backbone.preprocess, before.rules, step="read images")
    if not len(pixels):
        raise DataError(expected=_READABLE, found=f"none of {len(chosen)}", where=chosen[0].path, hint=_AUDIT)
    after = before.copy()
    norms = _measure(session, after, pixels, prior=prior)
    after = _with_source(after, f"batch norm measured again on {name_of_source(where)}, {len(pixels)} images")
    if before.familiarity is not None or before.conformal is not None:
        session.notice(
            "The new file has no threshold for unfamiliar images and no prediction sets: they were measured with the "
            "old statistics. Train on images of the new domain to get them."
        )
    first, second = _predict(session, before, asked, "before"), _predict(session, after, asked, "after")
    after.save(target)
    session.on_event(
        FilesWritten(target.parent, (target.name,), f"headstart predict {shlex.quote(str(target))} NEW_IMAGES")
    )
    both = [(b, a) for b, a in zip(first, second, strict=True) if b.label and a.label]
    return Recalibrated(
        path=target,
        images=len(pixels),
        norms=norms,
        prior=prior,
        changed=sum(b.label != a.label for b, a in both),
        asked=len(both),
        comparison=_comparison(asked, first, second, classes=before.classes),
        same_images=bool({one.path for one in chosen} & {one.path for one in asked}),
    )


def _target(classifier: Trained, out: str | Path | None) -> Path:
    if out is not None:
        target = Path(out)
    elif isinstance(classifier, Classifier):
        target = Path("recalibrated.safetensors")
    else:
        file = classifier.folder if isinstance(classifier, Run) else Path(classifier)
        file = file / "classifier.safetensors" if file.is_dir() else file
        target = file.with_name(f"{file.stem}-recalibrated.safetensors")
    if target.exists():
        raise ClassifierError(
            expected="a new file", found="one that exists already", where=target, hint="Choose another with --out."
        )
    return writable_file(target, expected="a new file", makes_parents=True, for_model=True, kind=ClassifierError)


def _evenly(session: Session, samples: Sequence[Sample]) -> list[Sample]:
    """At most so many images, evenly over the classes as far as they go."""
    order = [samples[i] for i in np.random.default_rng(session.recipe.seed).permutation(len(samples))]
    queues: dict[str | None, list[Sample]] = {}
    for sample in order:
        queues.setdefault(sample.label, []).append(sample)
    sizes = [len(queue) for queue in queues.values()]
    if len(sizes) > 1 and max(sizes) > _IMBALANCED * min(sizes):
        most = int(_IMBALANCED * min(sizes))  # more would pull the statistics towards the large classes
        session.notice(f"Classes have {min(sizes)} to {max(sizes)} images: at most {most} of each are used.")
        queues = {label: queue[:most] for label, queue in queues.items()}
    taken: list[Sample] = []
    while queues and len(taken) < _MOST:
        taken += [queue.pop() for queue in queues.values() if queue][: _MOST - len(taken)]
        queues = {label: queue for label, queue in queues.items() if queue}
    return taken


def _measure(session: Session, model: Classifier, prepared: torch.Tensor, *, prior: float) -> int:
    preprocess, name = model.backbone.preprocess, "measure batch norm"
    progress = session.progress(name, unit="layers")

    def batches() -> list[torch.Tensor]:
        return [preprocess.normalise(some) for some in torch.split(prepared, 64)]

    try:
        with session.step(name):
            norms = recalibrate_batch_norm(model.backbone.network, batches, prior=prior, on_progress=progress)
    except BackboneError as error:
        raise ClassifierError(expected=error.expected, found=error.found, where=error.where) from error
    if not norms:
        raise ClassifierError(
            expected="a network with batch norm",
            found=f"{model.card.backbone}, which has none",
            where="recalibrate",
            hint="Its predictions do not depend on such statistics; train on images of the new domain instead.",
        )
    return norms


def _with_source(model: Classifier, what: str) -> Classifier:
    weights = model.backbone.weights
    model.backbone.weights = Provenance(f"{weights.source}, {what}", model.backbone.fingerprint, weights.licence)
    card = replace(model.card, weights=model.backbone.weights.to_dict(), metrics={})  # measured with other statistics
    return Classifier(model.backbone, model.head, card)  # and so were its thresholds and its training features


def _predict(session: Session, model: Classifier, samples: Sequence[Sample], name: str) -> list[Prediction]:
    # four positional: who predicts what, under which name
    progress, found = session.progress(f"predict {name}"), list[Prediction]()
    paths, batch_size = [one.path for one in samples], session.recipe.batch_size
    for prediction in model.stream(paths, workers=session.workers, batch_size=batch_size):
        found.append(prediction)
        progress(len(found), len(samples))
    return found


def _comparison(
    samples: Sequence[Sample], before: Sequence[Prediction], after: Sequence[Prediction], *, classes: tuple[str, ...]
) -> Comparison | None:
    rows = [
        (one.name, one.label, b.label, a.label)
        for one, b, a in zip(samples, before, after, strict=True)
        if one.label is not None and b.label is not None and a.label is not None
    ]
    if not rows:
        return None
    names, labels, first, second = (tuple(column) for column in zip(*rows, strict=True))
    return compare(
        RunPredictions(keys=names, labels=labels, predicted=first, classes=classes),
        RunPredictions(keys=names, labels=labels, predicted=second, classes=classes),
    )
