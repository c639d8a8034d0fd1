"""The files of a run: classifier, record, predictions, report; the features are there already."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart import runtime
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.data.split import DataSplit
from headstart.engines.choose import Engine
from headstart.evaluation.evaluation import Evaluation
from headstart.features.extract import Extraction
from headstart.features.matrix import Features
from headstart.finetune.acceptance import harm_of
from headstart.heads.head import Head
from headstart.heads.linear_probe import LinearProbe
from headstart.heads.regularization_path import Labels
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck
from headstart.progress import OnEvent
from headstart.recipe import Recipe
from headstart.reports.inside import write_inside
from headstart.reports.report import ReportContents, write_report
from headstart.workbench.events import DatasetSummary, Plan
from headstart.workbench.fine_tune import FineTuneOutcome
from headstart.workbench.inspect import contents_of, look_briefly
from headstart.workbench.inspected_images import read_samples
from headstart.workbench.prepare import Prepared, fingerprint_of, found, part_of
from headstart.workbench.run import CLASSIFIER, INSIDE, PREDICTIONS, REPORT, write_record, write_table
from headstart.workbench.starting_point import StartingPoint

_LOOKED_AT = 32  # test images: with fewer the batch-norm lens' noise floors are high


@dataclass(frozen=True)
class Finished:
    """Everything a training came to, before it is written.

    Args:
        folder: where the run will lie, unless that name gets taken meanwhile.
        source: what was trained on.
        labels: class index of each image, -1 for unknown classes.
        head: of the classifier: the probe's, the fine-tuned one, or that of the run it goes on from.
        features: of the classifier's backbone.
        checked: whether images were brought to the given backbone as its first batch norm remembers them.
    """

    folder: Path
    source: Path
    prepared: Prepared
    parts: DataSplit
    choice: StartingPoint
    recipe: Recipe
    plan: Plan
    extraction: Extraction
    engine: Engine
    features: Features
    labels: Labels
    probe: LinearProbe
    head: Head
    tuning: FineTuneOutcome | None
    evaluation: Evaluation
    checked: PreprocessingCheck
    seconds: dict[str, float]

    @property
    def told(self) -> DatasetSummary:
        """What the data turned out to be, as it was told at the beginning."""
        return found(self.prepared, self.parts, self.source)

    @property
    def chosen(self) -> str:
        """By which images everything was chosen that was not told by the user."""
        tuned = None if self.tuning is None else self.tuning.fine_tuned
        if tuned is None and self.choice.head is not None:
            return "The head is that of the run it goes on from"
        if tuned is None:
            return f"Strength and temperature were chosen {self.probe.path.held_out}"
        if not tuned.held_out.n:
            return "Too few images to hold any out: the temperature is 1"
        chosen = "Mirror images were judged and the temperature was" if tuned.flip_tta else "The temperature was"
        return f"{chosen} fitted on {tuned.held_out.n} images that were not trained on"

    @property
    def part_of(self) -> list[str]:
        """`train`, `validation`, `test` or `unknown` for each image."""
        return part_of(self.parts, len(self.labels))


def write_run(work: Path, finished: Finished, on_event: OnEvent) -> None:
    """Write classifier, predictions, record, the page that looks inside and the report into the run's folder."""
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    versions, data = runtime.versions(), _data(finished)
    backbone = finished.choice.backbone
    card = Card(
        backbone=backbone.spec.name,
        stages=finished.head.stages,
        classes=finished.prepared.image_set.classes,
        preprocess=backbone.preprocess.to_dict(),
        background=finished.prepared.rules.background,
        head=finished.head.kind,
        temperature=finished.head.temperature,
        weights=backbone.weights.to_dict(),
        unit=finished.head.unit,
        flip_tta=finished.head.flip_tta,
        data=data,
        metrics=_metrics(finished.evaluation),
        versions=versions,
        created=created,
    )
    classifier = Classifier(backbone, finished.head, card)
    classifier.save(work / CLASSIFIER)
    inside = {} if not finished.recipe.inside else _look_inside(work / INSIDE, classifier, finished, on_event)
    _write_predictions(work / PREDICTIONS, finished)
    write_record(work, _record(finished, data, versions, created))
    write_report(work / REPORT, replace(_contents(finished, versions), inside=inside))


def _record(
    finished: Finished, data: dict[str, object], versions: Mapping[str, str], created: str
) -> dict[str, object]:
    """All of run.json but its version."""
    backbone = finished.choice.backbone
    return {
        "evaluation": finished.evaluation.to_dict(),
        "recipe": finished.recipe.to_dict(),
        "source": str(finished.source.absolute()),
        "data": data,
        "plan": dict(finished.plan.rows),
        "backbone": {"name": backbone.spec.name, **backbone.weights.to_dict(), "fingerprint": backbone.fingerprint},
        "preprocessing": finished.checked.to_dict(),
        "head": finished.probe.to_dict(),
        **({} if finished.tuning is None else {"tuning": finished.tuning.to_dict()}),
        "findings": [finding.to_dict() for finding in finished.told.findings],
        "timings": finished.seconds,
        "images_per_second": finished.extraction.images_per_second,
        "engine": finished.engine.name,
        "versions": versions,
        "created": created,
    }


def _look_inside(path: Path, classifier: Classifier, finished: Finished, on_event: OnEvent) -> dict[str, str]:
    """Write the page that looks inside; the address of each look → its first sentence."""
    prepared, recipe = finished.prepared, finished.recipe
    step = max(1, len(finished.parts.test) // _LOOKED_AT)
    samples = [prepared.samples[i] for i in finished.parts.test[::step]][:_LOOKED_AT]
    images = read_samples(
        samples, classifier.backbone.preprocess, prepared.rules, recipe, on_event, classes=classifier.classes
    )
    if len(images) < 2:
        return {}
    found = look_briefly(classifier, images, finished.checked, recipe.seed, on_event)
    again = f"headstart inspect all {shlex.quote(str(finished.folder))} {shlex.quote(str(finished.source))}"
    write_inside(path, contents_of(found, f"{len(images)} test images of {finished.source.absolute().name}", again))
    first = {
        f"{path.name}#{name}": insight.interpretation[0]
        for name, insight in found.insights.items()
        if insight.interpretation
    }
    rules = {} if found.diagnosis is None else {f"{path.name}#doctor": found.diagnosis.summary}
    return rules | first


def next_command(folder: Path) -> str:
    """What a user does next."""
    return f"headstart predict {shlex.quote(str(folder / CLASSIFIER))} NEW_IMAGES"


def verdict_warnings(finished: Finished) -> tuple[str, ...]:
    """What must be said beside the number, in plain words."""
    warnings = []
    if not finished.choice.backbone.spec.pretrained:
        warnings.append(
            "Nothing was pretrained: these are features of random weights; pretrained ones do far better on photos."
        )
    tuned = None if finished.tuning is None else finished.tuning.fine_tuned
    if tuned is not None and finished.recipe.strategy != "auto" and harm_of(tuned):
        warnings.append(harm_of(tuned))
    if finished.evaluation.accuracy.n < 50:
        warnings.append(f"{finished.evaluation.accuracy.n} test images tell little: mind the width of the interval.")
    return tuple(warnings)


def _data(finished: Finished) -> dict[str, object]:
    prepared, told = finished.prepared, finished.told
    return {
        "name": finished.source.absolute().name,
        "fingerprint": fingerprint_of(prepared, finished.parts),
        "images": told.images,
        "classes": list(told.classes),
        "counts": {part: dict(counts) for part, counts in told.counts.items()},
        "protocol": told.protocol,
    }


def _answers(tuning: FineTuneOutcome | None) -> dict[str, str]:
    """A row for the plan of the report, where mirror images were judged."""
    if tuning is None or tuning.fine_tuned is None or not tuning.fine_tuned.flip_tta:
        return {}
    plain, both = tuning.fine_tuned.flip_tta
    way = "the mean of the scores for an image and its mirror image" if both.taken else "for images as they are"
    n = tuning.fine_tuned.held_out.n
    losses = f"log loss on {n} held-out images {plain.log_loss:.3f}, with mirror images {both.log_loss:.3f}"
    return {"answers": f"{way}: {losses}"}


def _metrics(evaluation: Evaluation) -> dict[str, object]:
    values = evaluation.to_dict()
    return {key: values[key] for key in ("accuracy", "balanced_accuracy", "baselines", "without_leaks", "leaked")}


def _write_predictions(path: Path, finished: Finished) -> None:
    classes = finished.prepared.image_set.classes
    header = [
        "path",
        "sha256",
        "pixels",
        "part",
        "group",
        "label",
        "predicted",
        "probability",
        *[f"p({name})" for name in classes],
    ]
    write_table(path, header, _prediction_rows(finished))


def _prediction_rows(finished: Finished) -> Iterator[list[object]]:
    prepared, classes = finished.prepared, finished.prepared.image_set.classes
    rows = np.arange(len(finished.labels))
    probabilities = finished.head.probabilities_of(finished.features.view(rows, finished.head.stages))
    for i, (sample, part) in enumerate(zip(prepared.samples, finished.part_of, strict=True)):
        best = int(probabilities[i].argmax())
        numbers = [f"{value:.6f}" for value in probabilities[i]]
        group = str(finished.parts.groups[i])
        yield [
            sample.name,
            prepared.facts[i].content,
            prepared.facts[i].pixels,
            part,
            group,
            sample.label,
            classes[best],
            numbers[best],
            *numbers,
        ]


def _contents(finished: Finished, versions: Mapping[str, str]) -> ReportContents:
    told = finished.told
    samples = finished.prepared.image_set.samples
    return ReportContents(
        title=finished.source.absolute().name,
        evaluation=finished.evaluation,
        findings=told.findings,
        found=finished.prepared.image_set.to_dict(),
        split=told.protocol,
        counts={part: dict(counts) for part, counts in told.counts.items()},
        plan=dict(finished.plan.rows) | _answers(finished.tuning),
        choices=tuple(choice.to_dict() for choice in finished.probe.choices),
        held_out=finished.probe.path.held_out,
        recipe=finished.recipe.to_dict(),
        versions=dict(versions),
        timings=dict(finished.seconds),
        paths={sample.name: sample.path for sample in samples},
        command=next_command(finished.folder),
        defaults=Recipe().to_dict(),
        warnings=verdict_warnings(finished),
        rules=finished.prepared.rules,
    )
