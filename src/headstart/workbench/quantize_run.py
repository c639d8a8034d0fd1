"""A finished run in int8: its network quantised, and what is fitted on its features fitted again on int8 features.

In: a run in float32 and its images. Out: for a frozen network the classifier that `train --precision int8` would have
made; for a fine-tuned one its own head with a temperature and thresholds of int8 features; and its accuracy beside that
of the run, in pairs on the same test images.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, replace

import numpy as np

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.classifier.familiarity import FamiliarImages, fit_familiarity
from headstart.data.dataset import Labels
from headstart.data.image_set import Sample
from headstart.data.split import SplitInput, make_split
from headstart.engines.onnxruntime_engine import require_packages
from headstart.errors import DataError, RunError
from headstart.evaluation.calibration import fit_temperature
from headstart.evaluation.comparison import Comparison, RunPredictions
from headstart.evaluation.comparison import compare as compare_predictions
from headstart.evaluation.conformal import fit_conformal
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import accuracy_intervals
from headstart.features.extract import ImageFiles
from headstart.finetune.result import SHRINK
from headstart.heads.head import Head
from headstart.recipe import Recipe
from headstart.registry import HEADS
from headstart.workbench.fine_tune_images import HELD_OUT
from headstart.workbench.run import Run
from headstart.workbench.run_rows import RunRows, paths_of
from headstart.workbench.session import Session
from headstart.workbench.solve_again import check_solvable, solve_again

_SAME = 1e-4  # of temperatures: other images of an easy set differ by 2e-3 and more, other sums of the same by 2e-8


@dataclass(frozen=True, eq=False)
class QuantizedRun:
    """A run's classifier in int8.

    Args:
        accuracy: on the run's test images, in pairs: A is the run's classifier, B the one in int8.
    """

    classifier: Classifier
    accuracy: Comparison


def quantize_run(session: Session, run: Run) -> QuantizedRun:
    """Quantise the network of a run, and fit head, temperature, familiarity and prediction sets on its features.

    The head of a fine-tuned network stays as it was trained with it.

    The ranges of activations come from training images alone, at most 64, drawn by the run's seed. A head that was
    solved on float32 features would meet features that it does not know; see `docs/decisions/int8.md`.

    Args:
        session: whose events and steps are used.

    Raises:
        RunError: files of the run are missing, or what was held out cannot be told.
        DataError: images of the run are not in their place, or were changed.
        BackboneError: the network cannot be quantised.
    """
    is_tuned = run.classifier.head.kind not in HEADS
    if not is_tuned:
        check_solvable(run, verb="export --to onnx-int8")
    require_packages()
    rows, old = RunRows.of(run), run.classifier
    samples = _samples(run, rows)
    recipe = Recipe.from_dict(run.record["recipe"])
    own = Session(recipe, {"device": "cpu", "engine": "auto", "precision": "int8"}, session.on_event)
    rules, train = (
        replace(own.rules, background=old.card.background, bit_depth=old.card.bit_depth),
        rows.indices("train"),
    )
    with own.step("quantize"):
        contents = [rows.contents[i] for i in train]
        backbone = own.quantized(old.backbone, [samples[i] for i in train], contents, rules=rules)
    with own.step("features"):
        files = ImageFiles(tuple(sample.path for sample in samples), rows.names, rows.contents, rules)
        found = own.features(own.job_of(files, backbone)).features
    quantized = replace(rows, features=found, at=np.arange(len(rows)))
    with own.step("head"):
        if is_tuned:
            classifier = _with_own_head(run, rows, quantized, backbone=backbone)
        else:
            progress = own.progress("solve head", unit="%")
            classifier = solve_again(run, quantized, backbone=backbone, progress=progress).classifier
    accuracy = compare_predictions(_predictions(rows, old.head), _predictions(quantized, classifier.head))
    return QuantizedRun(classifier, accuracy)


def _with_own_head(run: Run, rows: RunRows, quantized: RunRows, *, backbone: Backbone) -> Classifier:
    """The classifier of a fine-tuned run: a head solved on images that the network was trained on would be too sure.

    Its own head stays; temperature, familiarity and prediction sets come from the images that were held out, as in
    training. Where folds judged and none was, temperature and sets stay those of the folds.
    """
    recipe, old, head = Recipe.from_dict(run.record["recipe"]), run.classifier, run.classifier.head
    train, held = _held_out(run, rows)
    conformal, familiarity = old.conformal, old.familiarity
    if len(held):
        head = replace(head, temperature=_temperature(quantized, head, held))
        p = head.probabilities_of(quantized.features.view(quantized.at[held], head.stages))
        conformal = fit_conformal(p, rows.labels[held], rows.groups[held])
    if familiarity is not None:
        familiarity = fit_familiarity(
            _images(quantized, train, familiarity.stage),
            stage=familiarity.stage,
            rate=recipe.false_rejects,
            bank=recipe.bank,
            held_out=_images(quantized, held, familiarity.stage),
            seed=recipe.seed,
        )
    fitted, test = _predictions(quantized, head), rows.indices("test")
    correct = np.array(fitted.predicted) == np.array(fitted.labels)
    accuracy, _ = accuracy_intervals(correct, shared_groups([str(group) for group in rows.groups[test]]))
    facts = {name: getattr(old.card, name) for name in ("background", "bit_depth", "data")}
    card = Card.of(
        backbone,
        head,
        rows.classes,
        **facts,
        metrics={"accuracy": accuracy.to_dict()},
        versions=runtime.versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    return Classifier(backbone, head, card, familiarity=familiarity, conformal=conformal)


def _held_out(run: Run, rows: RunRows) -> tuple[Labels, Labels]:
    """Indices of the images that the network was trained on, and of those that were held out from it.

    Raises:
        RunError: it cannot be told: the temperature of the run does not come from those that are found.
    """
    recipe, head = Recipe.from_dict(run.record["recipe"]), run.classifier.head
    train, held = rows.indices("train"), rows.indices("validation")
    about = run.record.get("fine_tuning", {}).get("held_out")
    if about is not None and (about["images"] == 0 or len(held)):
        return train, held if about["images"] else held[:0]
    spared = SplitInput(  # as `fine_tune_rows` chose them
        labels=[rows.classes[i] for i in rows.labels[train]],
        splits=[None] * len(train),
        contents=[rows.contents[i] for i in train],
        classes=rows.classes,
        groupings=([int(group) for group in rows.groups[train]],),
    )
    made = make_split(spared, test_share=HELD_OUT, seed=recipe.seed)
    train, held = train[list(made.train)], train[list(made.test)]
    if about is None or not math.isclose(_temperature(rows, head, held), head.temperature, rel_tol=_SAME):
        raise RunError(
            expected="the images that were held out from the fine-tuning, which gave the temperature",
            found="others, which give another one",
            where=run.folder,
            hint="Export it in float32: --to onnx.",
        )
    return train, held


def _temperature(rows: RunRows, head: Head, chosen: Labels) -> float:
    view = replace(rows.features.view(rows.at[chosen], head.stages), unit=head.scales)
    scores = np.concatenate([head.scores(x) for _, x in view.blocks()])
    return fit_temperature(scores, rows.labels[chosen], shrink=SHRINK).value


def _images(rows: RunRows, chosen: Labels, stage: str) -> FamiliarImages:
    names = [rows.names[i] for i in chosen]
    return FamiliarImages(
        rows.features.view(rows.at[chosen], (stage,)), rows.labels[chosen], rows.groups[chosen], names
    )


def _samples(run: Run, rows: RunRows) -> list[Sample]:
    """The images of a run where they lie now."""
    paths, missing = paths_of(run, rows.names)
    if missing:
        raise DataError(
            expected="the images of the run, whose features int8 computes again",
            found=missing,
            where=run.folder,
            hint="Put them back, or train again: headstart train --precision int8.",
        )
    named = zip(rows.names, rows.label_names, rows.splits, strict=True)
    return [Sample(paths[name], name, label or None, split) for name, label, split in named]


def _predictions(rows: RunRows, head: Head) -> RunPredictions:
    """What a head predicts for the test images, from their features."""
    test = rows.indices("test")
    p = head.probabilities_of(rows.features.view(rows.at[test], head.stages))
    return RunPredictions(
        keys=tuple(rows.contents[i] for i in test),
        labels=tuple(rows.classes[i] for i in rows.labels[test]),
        predicted=tuple(rows.classes[i] for i in p.argmax(axis=1)),
        classes=rows.classes,
        groups=tuple(str(rows.groups[i]) for i in test),
    )
