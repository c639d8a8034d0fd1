"""A finished run solved again on other rows of features: as `train` would have solved it, without any image.

In: a run, its rows less or more some. Out: a new run's folder: classifier, features, predictions, record and report.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.classifier.familiarity import FamiliarImages, Familiarity, fit_familiarity
from headstart.classifier.trust_evaluation import NO_SETS, TrustEvaluation, TrustImages, evaluate_trust
from headstart.data.finding import Finding
from headstart.errors import DataError, RunError
from headstart.evaluation.conformal import ConformalSets, fit_conformal
from headstart.evaluation.evaluate import BaselinePredictions, EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation
from headstart.features.features_file import create_file, seal_file
from headstart.heads.knn import predict_neighbours
from headstart.heads.linear_probe import LinearProbe, fit_linear_probe
from headstart.progress import OnProgress, no_progress
from headstart.recipe import Recipe
from headstart.registry import HEADS
from headstart.reports.report import ReportContents, write_report
from headstart.workbench.run import (
    CLASSIFIER,
    FEATURES,
    PREDICTIONS,
    REPORT,
    Run,
    write_predictions_table,
    write_record,
)
from headstart.workbench.run_rows import RunRows
from headstart.workbench.write_run import next_command

FORGOTTEN, ADDED = "forgotten", "class-added"
"""Kinds of findings about what was done to a run; they stay with the runs that are made of it."""
_KEPT = ("recipe", "source", "plan", "backbone", "preprocessing", "images_per_second", "engine")


@dataclass(frozen=True, eq=False)
class SolvedAgain:
    """A head on other rows, and what it reaches on their test images."""

    rows: RunRows
    probe: LinearProbe
    classifier: Classifier
    evaluation: Evaluation


def check_solvable(run: Run, *, verb: str) -> None:
    """See that the run's head is solved from features of a network that no image of the run has changed.

    Raises:
        RunError: it was fine-tuned, or quantised with training images.
    """
    head, recipe = run.classifier.head, Recipe.from_dict(run.record["recipe"])
    precision = run.classifier.card.precision
    if head.kind not in HEADS or precision == "int8":
        found = "one that was fine-tuned" if head.kind not in HEADS else "an int8 one, calibrated on training images"
        raise RunError(
            expected=f"a run whose network has not seen its images, for {verb}",
            found=found,
            where=run.folder,
            hint="Train again on the images that you want: the network itself depends on them.",
        )
    HEADS.find(recipe.head, where="--head")


def solve_again(
    run: Run, rows: RunRows, *, backbone: Backbone | None = None, progress: OnProgress = no_progress
) -> SolvedAgain:
    """Solve the head of a run on these rows: regularization, temperature and test as `train` chooses and measures them.

    Args:
        backbone: what the features of the rows are of; None: the run's.

    Raises:
        DataError: a class has no training image, or there is no test image.
    """
    recipe, old = Recipe.from_dict(run.record["recipe"]), run.classifier
    backbone = backbone or old.backbone
    train, test = rows.indices("train"), rows.indices("test")
    counts = np.bincount(rows.labels[train], minlength=len(rows.classes))
    empty = [name for name, count in zip(rows.classes, counts, strict=True) if not count]
    if empty or not len(test):
        raise DataError(
            expected="training images of every class, and test images",
            found=f"no training image of {empty[0]!r}" if empty else "no test image",
            where=run.folder,
            hint="Keep at least one image of each class.",
        )
    probe = fit_linear_probe(
        rows.features,
        rows.training(),
        layers={recipe.layers: old.head.stages},
        kind=recipe.head,
        balance=recipe.balance,
        progress=progress,
    )
    evaluation = _evaluate(rows, probe, seed=recipe.seed)
    shown = ("accuracy", "balanced_accuracy", "baselines", "without_leaks", "leaked")
    measured = evaluation.to_dict()
    card = Card.of(
        backbone,
        probe.head,
        rows.classes,
        background=old.card.background,
        bit_depth=old.card.bit_depth,
        data=_data(run, rows),
        metrics={key: measured[key] for key in shown},
        versions=runtime.versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    familiarity, conformal = _trust(rows, probe, stage=backbone.spec.stages[-1].name, recipe=recipe)
    model = Classifier(backbone, probe.head, card, familiarity=familiarity, conformal=conformal)
    return SolvedAgain(rows, probe, model, evaluation)


def write_again(
    folder: Path, run: Run, solved: SolvedAgain, *, target: Path, done: Finding, more: Mapping[str, Any]
) -> None:  # six: what is written, where, and why
    """Write classifier, features, predictions, record and report into a folder.

    Args:
        target: where the folder will be. done: what makes the run another one, for report and model card.
        more: entries of run.json beside the usual ones.

    Raises:
        RunError: the disk refuses.
    """
    rows, card = solved.rows, solved.classifier.card
    solved.classifier.save(folder / CLASSIFIER)
    matrix = create_file(folder / FEATURES, rows.names, rows.contents, slices=rows.features.slices)
    matrix[:] = rows.features.matrix[rows.at]
    seal_file(folder / FEATURES, matrix)
    del matrix
    head, groups = solved.probe.head, map(str, rows.groups)
    images = list(zip(rows.names, rows.contents, rows.pixels, rows.splits, groups, rows.label_names, strict=True))
    write_predictions_table(
        folder / PREDICTIONS,
        images,
        rows.classes,
        scores=lambda block: head.probabilities_of(rows.features.view(rows.at[block], head.stages)),
    )
    record = {key: run.record[key] for key in _KEPT if key in run.record}
    findings, trust = (*_earlier(run), done), _measured_trust(solved, seed=int(run.record["recipe"]["seed"]))
    facts = {"evaluation": solved.evaluation, "trust": trust, "data": card.data, "head": solved.probe}
    about = {"findings": findings, "timings": {}, "versions": card.versions, "created": card.created}
    write_record(folder, {**record, **facts, **about, **more})
    write_report(folder / REPORT, replace(_report(run, solved, target=target, findings=findings), trust=trust))


def _earlier(run: Run) -> list[Finding]:
    """What was done to the run before; what an audit found is of other images."""
    found = [one for one in run.record.get("findings", ()) if one["kind"] in (FORGOTTEN, ADDED)]
    return [Finding(one["kind"], one["severity"], one["message"]) for one in found]


def _report(run: Run, solved: SolvedAgain, *, target: Path, findings: tuple[Finding, ...]) -> ReportContents:
    rows, data, source = solved.rows, solved.classifier.card.data, Path(str(run.record["source"]))
    return ReportContents(
        title=str(data["name"]),
        evaluation=solved.evaluation,
        findings=findings,
        source=str(source),
        images=len(rows),
        protocol=str(data["protocol"]),
        counts=data["counts"],
        plan=run.record["plan"],
        choices=solved.probe.choices,
        held_out=solved.probe.path.held_out,
        recipe=run.record["recipe"],
        versions=runtime.versions(),
        timings={},
        paths={name: source / name for name in rows.names if (source / name).is_file()},
        command=next_command(target),
        defaults=Recipe().to_dict(),
        rules=solved.classifier.rules,
    )


def _evaluate(rows: RunRows, probe: LinearProbe, *, seed: int) -> Evaluation:
    test, train, head = rows.indices("test"), rows.indices("train"), probe.head
    view = rows.features.view(rows.at[test], head.stages)
    known = rows.features.view(rows.at[train], head.stages)
    neighbours, about = predict_neighbours(known, rows.labels[train], view, classes=len(rows.classes))
    return evaluate_probabilities(
        head.probabilities_of(view),
        EvaluatedImages(
            labels=rows.labels[test],
            classes=rows.classes,
            names=[rows.names[i] for i in test],
            groups=[str(rows.groups[i]) for i in test],
            leaked=np.isin(rows.groups[test], rows.groups[train]),
            unknown={},
        ),
        train_counts=np.bincount(rows.labels[train], minlength=len(rows.classes)).tolist(),
        baselines={"kNN": BaselinePredictions(neighbours, about)},
        held_out=probe.held_out_accuracy,
        seed=seed,
    )


def _trust(
    rows: RunRows, probe: LinearProbe, *, stage: str, recipe: Recipe
) -> tuple[Familiarity, ConformalSets | None]:
    """Bank, threshold and prediction sets of these rows alone, as `train` fits them for a head on frozen features."""
    path, images = probe.path, _familiar_images(rows, "train", stage)
    familiarity = fit_familiarity(images, stage=stage, rate=recipe.false_rejects, bank=recipe.bank, seed=recipe.seed)
    p = softmax(path.held_scores / probe.head.temperature, axis=1)
    groups = path.held_groups if path.held_groups is not None else rows.groups[rows.indices("validation")]
    return familiarity, fit_conformal(p, path.held_labels, groups)


def _measured_trust(solved: SolvedAgain, *, seed: int) -> TrustEvaluation:
    """Both on the test images and on each class left out, as `train` measures them; drawn pictures need the network."""
    rows, model, test = solved.rows, solved.classifier, solved.rows.indices("test")
    familiarity, head = model.familiarity, model.head
    stage = model.backbone.spec.stages[-1].name
    images = TrustImages(
        _familiar_images(rows, "train", stage),
        _familiar_images(rows, "test", stage),
        probabilities=head.probabilities_of(rows.features.view(rows.at[test], head.stages)),
    )
    found = evaluate_trust(familiarity, model.conformal, images, classes=rows.classes, seed=seed)
    return found if model.conformal is not None else replace(found, no_sets=NO_SETS)


def _familiar_images(rows: RunRows, split: str, stage: str) -> FamiliarImages:
    chosen = rows.indices(split)
    names = [rows.names[i] for i in chosen]
    view = rows.features.view(rows.at[chosen], (stage,))
    return FamiliarImages(view, rows.labels[chosen], rows.groups[chosen], names)


def _data(run: Run, rows: RunRows) -> dict[str, Any]:
    """As in the card of a training: counts, and the fingerprint over content, label and split of every image."""
    names = rows.label_names
    lines = sorted(f"{rows.contents[i]}\t{names[i]}\t{rows.splits[i]}" for i in range(len(rows)))
    counts = Counter(zip(rows.splits, names, strict=True))
    splits = [split for split in ("train", "validation", "test") if split in rows.splits]
    return {
        **run.record["data"],
        "fingerprint": hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest(),
        "images": len(rows),
        "classes": list(rows.classes),
        "counts": {split: {name: counts[split, name] for name in rows.classes} for split in splits},
    }


def head_difference(first: Classifier, second: Classifier) -> float:
    """Largest difference of two heads' weights, biases and temperatures, relative to those of the first."""
    a, b = first.head, second.head
    if a.weight.shape != b.weight.shape:
        return float("inf")
    size = float(np.abs(a.weight).max()) or 1.0
    parts = (np.abs(a.weight - b.weight).max() / size, np.abs(a.bias - b.bias).max() / size)
    return float(max(*parts, abs(a.temperature - b.temperature) / a.temperature))
