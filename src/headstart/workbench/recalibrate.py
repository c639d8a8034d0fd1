"""recalibrate: a finished classifier's batch-norm statistics, measured anew on the images it will see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from headstart import runtime
from headstart.backbones.backbone import Provenance
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.classifier.classifier import Classifier, Prediction
from headstart.data.batches import pixel_batches
from headstart.data.image_set import Sample
from headstart.errors import BackboneError, ClassifierError, DataError
from headstart.evaluation.comparison import Comparison, RunPredictions, compare
from headstart.progress import Notice, OnEvent, ProgressReporter, print_event
from headstart.recipe import Recipe
from headstart.workbench.events import FilesWritten
from headstart.workbench.inspected_images import MEASURED, samples_of
from headstart.workbench.prepare import recipe_from

PRIOR = 16.0
"""Images that the old statistics count for: with few new ones they hold the balance, with 512 they are 3 %."""

_MOST = 512  # images: statistics no longer move by more than a hundredth of their spread, and pixels are 0.1 GB
_SKEWED = 3.0  # times as many images of one class as of another: then drawn evenly, and said if that cannot be


@dataclass(frozen=True)
class Recalibrated:
    """A classifier with new statistics, and whether it got better.

    Args:
        path: of its file. images: the statistics were measured on. norms: batch norms with new statistics.
        changed: images that are answered otherwise than before. asked: images that both were asked.
        comparison: before and after on labelled images, in pairs; None without labels.
        same_images: whether both were asked the very images that the statistics are of (without their labels).
    """

    path: Path
    images: int
    norms: int
    prior: float
    changed: int
    asked: int
    comparison: Comparison | None
    same_images: bool

    def to_dict(self) -> dict[str, object]:
        """Plain values for `--json`."""
        own = {key: value for key, value in vars(self).items() if key not in ("path", "comparison")}
        comparison = None if self.comparison is None else self.comparison.to_dict()
        return {"path": str(self.path), **own, "comparison": comparison}

    def __str__(self) -> str:
        lines = [
            f"{self.norms} batch norms have the statistics of {self.images} images (the old ones count for "
            f"{self.prior:g}). {self.changed} of {self.asked} images are answered otherwise than before."
        ]
        if self.comparison is not None:
            where = "the very images the statistics are of" if self.same_images else "images the statistics are not of"
            lines += [f"A is before, B is after, on {where}.", str(self.comparison)]
        else:
            lines.append("Without labels nothing says whether that is better.")
        return "\n".join(lines)


def recalibrate(
    classifier: str | Path | Classifier,
    source: str | Path,
    *,
    out: str | Path | None = None,
    prior: float = PRIOR,
    recipe: Recipe | None = None,
    on_event: OnEvent = print_event,
    **knobs: object,
) -> Recalibrated:
    """Measure batch-norm statistics on images of the domain in which a classifier is used; weights stay as they are.

    Of a set with parts, the training part gives the statistics and the test part the comparison. Labels have no say in
    the statistics but that classes are drawn evenly: images of one class alone would bend them.

    Args:
        classifier: a file, the folder of a run, or a loaded Classifier, which is not changed.
        source: images like those that will come, in class folders or loose.
        out: file to write; left out: `NAME-recalibrated.safetensors` beside the old one, never overwritten.
        prior: how many images the old statistics count for.

    Raises:
        ClassifierError: the classifier cannot be opened, has no batch norm, or the file is there already.
        DataError: there are no images.

    Source: Li et al. 2016, arXiv:1603.04779 (AdaBN); Schneider et al. 2020, arXiv:2006.16971 (the prior).
    """
    recipe = recipe_from(recipe, knobs)
    before = classifier if isinstance(classifier, Classifier) else Classifier.load(classifier)
    target = _target(classifier, out)
    training = samples_of(Path(source), before.classes, ("train",))
    asked = samples_of(Path(source), before.classes, MEASURED)
    chosen = _evenly(training, recipe.seed, on_event)
    pixels = _pixels(before, chosen, recipe, on_event)
    after = before.copy()
    norms = _settle(after, pixels, prior)
    after = _with_source(after, f"batch norm measured anew on {Path(source).name}, {len(pixels)} images")
    first, second = (
        _predict(before, asked, recipe, on_event, "before"),
        _predict(after, asked, recipe, on_event, "after"),
    )
    after.save(target)
    on_event(FilesWritten(target.parent, (target.name,), f"headstart predict {target} NEW_IMAGES"))
    both = [(b, a) for b, a in zip(first, second, strict=True) if b.label and a.label]
    same = {one.path for one in chosen} & {one.path for one in asked}
    return Recalibrated(
        target,
        len(pixels),
        norms,
        prior,
        sum(b.label != a.label for b, a in both),
        len(both),
        _comparison(asked, first, second, before.classes),
        bool(same),
    )


def _target(classifier: str | Path | Classifier, out: str | Path | None) -> Path:
    if out is not None:
        target = Path(out)
    elif isinstance(classifier, Classifier):
        target = Path("recalibrated.safetensors")
    else:
        file = Path(classifier)
        file = file / "classifier.safetensors" if file.is_dir() else file
        target = file.with_name(f"{file.stem}-recalibrated.safetensors")
    if target.exists():
        raise ClassifierError(
            expected="a new file", found="one that is there already", where=target, hint="Name another with --out."
        )
    return target


def _evenly(samples: Sequence[Sample], seed: int, on_event: OnEvent) -> list[Sample]:
    """At most so many images, of every class alike as far as they go."""
    order = [samples[i] for i in np.random.default_rng(seed).permutation(len(samples))]
    queues: dict[str | None, list[Sample]] = {}
    for sample in order:
        queues.setdefault(sample.label, []).append(sample)
    sizes = [len(queue) for queue in queues.values()]
    if len(sizes) > 1 and max(sizes) > _SKEWED * min(sizes):
        most = int(_SKEWED * min(sizes))  # more would bend the statistics towards the large classes
        on_event(Notice(f"Classes have {min(sizes)} to {max(sizes)} images: at most {most} of each are taken."))
        queues = {label: queue[:most] for label, queue in queues.items()}
    taken: list[Sample] = []
    while queues and len(taken) < _MOST:
        taken += [queue.pop() for queue in queues.values() if queue][: _MOST - len(taken)]
        queues = {label: queue for label, queue in queues.items() if queue}
    return taken


def _pixels(model: Classifier, samples: Sequence[Sample], recipe: Recipe, on_event: OnEvent) -> torch.Tensor:
    """Prepared images N×3×S×S uint8 that could be read."""
    progress, found, done = ProgressReporter(on_event, "read images"), list[torch.Tensor](), 0
    paths, workers = [sample.path for sample in samples], recipe.workers or runtime.cores()
    for batch in pixel_batches(
        paths, model.backbone.preprocess.prepare, rules=model.rules, batch_size=32, workers=workers
    ):
        found += [batch.pixels] if batch.positions else []
        done += len(batch.positions) + len(batch.failures)
        progress(done, len(paths))
        for position, reason in batch.failures.items():
            on_event(Notice(f"{samples[position].name} is left out: {reason}"))
    if not found:
        raise DataError(expected="an image that can be read", found=f"none of {len(paths)}", where=samples[0].path)
    return torch.cat(found)


def _settle(model: Classifier, prepared: torch.Tensor, prior: float) -> int:
    look = model.backbone.preprocess

    def batches() -> list[torch.Tensor]:
        return [look.normalise(part) for part in torch.split(prepared, 64)]

    try:
        norms = recalibrate_batch_norm(model.backbone.network, batches, prior=prior)
    except BackboneError as error:
        raise ClassifierError(expected=error.expected, found=error.found, where=error.where) from error
    if not norms:
        raise ClassifierError(
            expected="a network with batch norm",
            found=f"{model.card.backbone}, which has none",
            where="recalibrate",
            hint="Its answers do not depend on such statistics; train on images of the new domain instead.",
        )
    return norms


def _with_source(model: Classifier, what: str) -> Classifier:
    weights = model.backbone.weights
    model.backbone.weights = Provenance(f"{weights.source}, {what}", model.backbone.fingerprint, weights.licence)
    card = replace(model.card, weights=model.backbone.weights.to_dict(), metrics={})  # measured with other statistics
    return Classifier(model.backbone, model.head, card)


def _predict(
    model: Classifier, samples: Sequence[Sample], recipe: Recipe, on_event: OnEvent, name: str
) -> list[Prediction]:
    progress, found = ProgressReporter(on_event, f"predict {name}"), list[Prediction]()
    workers = recipe.workers or runtime.cores()
    for prediction in model.stream([one.path for one in samples], workers=workers, batch_size=recipe.batch_size):
        found.append(prediction)
        progress(len(found), len(samples))
    return found


def _comparison(
    samples: Sequence[Sample], before: Sequence[Prediction], after: Sequence[Prediction], classes: tuple[str, ...]
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
