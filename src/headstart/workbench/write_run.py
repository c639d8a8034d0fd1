"""The files of a run: classifier, record, predictions, inspection page, report; the features are there already."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.data.dataset import Dataset
from headstart.data.worker_sources import needs_workers, recorded_source
from headstart.recipe import Recipe
from headstart.reports.inside import write_inside
from headstart.reports.report import ReportContents, write_report
from headstart.workbench.fine_tune import FineTuneOutcome
from headstart.workbench.inspect import contents_of, inspect_briefly
from headstart.workbench.run import CLASSIFIER, INSIDE, PREDICTIONS, REPORT, write_predictions_table, write_record
from headstart.workbench.session import Session
from headstart.workbench.training_result import TrainingResult

_INSPECTED = 32  # test images: with fewer the noise floors of the batch-norm analysis are high


def write_run(session: Session, work: Path, result: TrainingResult) -> None:
    """Write classifier, predictions, record, the page that inspects the classifier, and the report into a folder."""
    classifier = _classifier(result)
    classifier.save(work / CLASSIFIER)
    inside = _inspect(session, work / INSIDE, classifier, result=result) if session.recipe.inside else {}
    _write_predictions(session, work / PREDICTIONS, result)
    write_record(work, _record(session, result, classifier.card))
    write_report(work / REPORT, _contents(session, result, inside))


def next_command(folder: Path) -> str:
    """The command that comes next."""
    return f"headstart predict {shlex.quote(str(folder / CLASSIFIER))} NEW_IMAGES"


def _classifier(result: TrainingResult) -> Classifier:
    backbone, head, evaluation = result.backbone, result.head, result.evaluation.to_dict()
    shown = ("accuracy", "balanced_accuracy", "baselines", "without_leaks", "leaked")
    card = Card.of(
        backbone,
        head,
        result.dataset.classes,
        background=result.dataset.rules.background,
        bit_depth=result.dataset.rules.bit_depth,
        data=_data(result),
        metrics={key: evaluation[key] for key in shown},
        versions=runtime.versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    trust = result.trust
    return Classifier(backbone, head, card, familiarity=trust.familiarity, conformal=trust.conformal)


def _data(result: TrainingResult) -> dict[str, Any]:
    summary = result.summary
    return {
        "name": Path(recorded_source(result.source)).name,
        "fingerprint": result.dataset.fingerprint(),
        "images": summary.images,
        "classes": list(summary.classes),
        "counts": {split: dict(counts) for split, counts in summary.counts.items()},
        "protocol": summary.protocol,
    }


def _record(session: Session, result: TrainingResult, card: Card) -> dict[str, object]:
    """All of run.json but its version."""
    backbone = result.backbone
    tuned = {} if result.fine_tuned is None else {"fine_tuning": result.fine_tuned.to_dict()}
    return {
        "evaluation": result.evaluation,
        "trust": result.trust.evaluation,
        "id": session.run_id,
        "command": session.command,
        "recipe": session.recipe,
        "source": recorded_source(result.source),
        "data": card.data,
        "plan": result.plan.rows,
        "backbone": {"name": backbone.spec.name, **backbone.weights.to_dict(), "fingerprint": backbone.fingerprint},
        "preprocessing": result.check,
        "head": result.probe,
        **tuned,
        **_reviewed(session, result),
        "next_steps": result.next_steps(),
        "findings": (*result.summary.findings, result.shortcuts),
        "timings": session.seconds,
        "images_per_second": result.extracted.extraction.images_per_second,
        "engine": result.extracted.engine.name,
        "versions": card.versions,
        "created": card.created,
    }


def _reviewed(session: Session, result: TrainingResult) -> dict[str, object]:
    """The decisions that were applied, where a review was named."""
    if session.recipe.review is None:
        return {}
    about = {**result.overlay.to_dict(), "fingerprint": session.decisions.fingerprint, "score": result.reviewed}
    return {"review": about}


def inspected(dataset: Dataset) -> list[int]:
    """Indices of the test images that the page about the classifier's inside is made of, evenly over their order."""
    test = dataset.indices("test")
    return [int(i) for i in test[:: max(1, len(test) // _INSPECTED)][:_INSPECTED]]


def _inspect(session: Session, path: Path, classifier: Classifier, *, result: TrainingResult) -> dict[str, str]:
    """Write the page that inspects the classifier; the address of each analysis → its first sentence."""
    dataset = result.dataset
    samples = [dataset.samples[i] for i in inspected(dataset)]
    images = session.read(samples, classifier.backbone.preprocess, dataset.rules, classes=classifier.classes)
    if len(images) < 2:
        return {}
    found = inspect_briefly(session, classifier, images, check=result.check)
    source = "IMAGES" if needs_workers(result.source) else result.source  # workers do not inspect
    again = shlex.join(["headstart", "inspect", "all", str(result.folder), source])
    name = Path(recorded_source(result.source)).name
    write_inside(path, contents_of(found, f"{len(images)} test images of {name}", again))
    first = {f"{path.name}#{name}": one.interpretation[0] for name, one in found.results.items() if one.interpretation}
    rules = {} if found.diagnosis is None else {f"{path.name}#doctor": found.diagnosis.summary}
    return rules | first


def _write_predictions(session: Session, path: Path, result: TrainingResult) -> None:
    dataset, head, features = result.dataset, result.head, result.extracted.features
    progress, groups = session.progress("write predictions"), dataset.groups()

    def scores(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        progress(int(rows[0]), len(dataset))
        return head.probabilities_of(features.view(rows, head.stages))

    about = (
        (sample.name, fact.content, fact.pixels, split, str(group), sample.label or "")
        for sample, fact, split, group in zip(dataset.samples, dataset.facts, dataset.splits, groups, strict=True)
    )
    write_predictions_table(path, about, dataset.classes, scores=scores)
    progress(len(dataset), len(dataset))


def _flip_row(outcome: FineTuneOutcome | None) -> dict[str, str]:
    """A row for the plan of the report, where flip TTA was judged."""
    if outcome is None or outcome.fine_tuned is None or not outcome.fine_tuned.flip_tta:
        return {}
    plain, flipped = outcome.fine_tuned.flip_tta
    how = "the mean score of an image and its horizontal flip" if flipped.taken else "one forward pass, no flip"
    losses = f"log loss {plain.log_loss:.3f}, with flip TTA {flipped.log_loss:.3f}"
    return {"prediction": f"{how}: on {outcome.fine_tuned.held_out.n} held-out images {losses}"}


def _contents(session: Session, result: TrainingResult, inside: Mapping[str, str]) -> ReportContents:
    summary, image_set = result.summary, result.dataset.image_set
    return ReportContents(
        title=Path(recorded_source(result.source)).name,
        evaluation=result.evaluation,
        findings=(*summary.findings, result.shortcuts),
        source=str(image_set.source),
        images=len(image_set.samples),
        protocol=summary.protocol,
        counts=summary.counts,
        plan=dict(result.plan.rows) | _flip_row(result.fine_tuned),
        choices=result.probe.choices,
        held_out=result.probe.path.held_out,
        recipe=session.recipe.to_dict(),
        versions=runtime.versions(),
        timings=dict(session.seconds),
        paths={sample.name: sample.path for sample in image_set.samples},
        made_by=session.command,
        improve=tuple(result.next_steps()),
        command=next_command(result.folder),
        defaults=Recipe().to_dict(),
        warnings=result.warnings(),
        basis=result.basis,
        rules=result.dataset.rules,
        inside=inside,
        trust=result.trust.evaluation,
    )
