"""TrainingResult: everything a training produced, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from headstart.backbones.backbone import Backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.weights import LITE_INSTALL, PACKAGED
from headstart.curation.overlay import Overlay, ReviewedScore
from headstart.data.dataset import Dataset
from headstart.data.finding import Finding
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import Interval
from headstart.heads.head import Head
from headstart.heads.linear_probe import LinearProbe
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck
from headstart.reports.next_steps import NextStep, next_steps
from headstart.wording import counted
from headstart.workbench.events import DatasetSummary, Plan
from headstart.workbench.fine_tune import FineTuneOutcome
from headstart.workbench.fit_trust import Trust
from headstart.workbench.session import Extracted
from headstart.workbench.shortcuts import quick_shortcuts
from headstart.workbench.starting_point import StartingPoint

_FEW = 50  # independent test images, or groups of them: with fewer the interval is wider than ±14 points
UNTRAINED, EMBEDDED = "untrained backbone", "embedded backbone"


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Everything a training produced.

    Args:
        folder: where the run will lie, unless that name gets taken meanwhile.
        summary: what was reported first.
        start: the backbone, fine-tuned in place where that was kept.
        check: whether images reached the backbone as its first batch norm implies.
        extracted: features of the classifier's backbone.
        overlay: the decisions of a review that were applied. reviewed: the score by those about test images.
        head: of the classifier: the probe's, the fine-tuned one, or that of the run it continues.
        trust: by what the classifier judges its own answers.
        second_half: what the second half of the training images gained in held-out accuracy; None: not measured.
    """

    source: str
    folder: Path
    summary: DatasetSummary
    start: StartingPoint
    check: PreprocessingCheck
    plan: Plan
    extracted: Extracted
    probe: LinearProbe
    fine_tuned: FineTuneOutcome | None
    head: Head
    evaluation: Evaluation
    trust: Trust
    overlay: Overlay
    reviewed: ReviewedScore | None
    second_half: Interval | None = None

    @cached_property
    def shortcuts(self) -> Finding:
        """Whether something else than the subject tells the training images apart."""
        return quick_shortcuts(self.dataset, self.probe)

    @property
    def dataset(self) -> Dataset:
        """The images with their split, as they were trained on."""
        return self.overlay.dataset

    def next_steps(self) -> list[NextStep]:
        """What to improve next, as far as numbers say."""
        return next_steps(
            self.evaluation,
            self.summary.findings,
            source=self.source,
            train_counts=self.summary.counts.get("train", {}),
            backbone=self.backbone.spec,
            others=tuple(SPECS.values()),
            second_half=self.second_half,
            run=str(self.folder),
        )

    @property
    def backbone(self) -> Backbone:
        """The classifier's backbone."""
        return self.start.backbone

    @property
    def selection(self) -> str:
        """On which images everything was selected that the user did not set, one clause."""
        tuned = None if self.fine_tuned is None else self.fine_tuned.fine_tuned
        if tuned is None and self.start.head is not None:
            return "The head is that of the run it continues"
        if tuned is None:
            return f"Regularization strength and temperature were chosen {self.probe.path.held_out}"
        if tuned.from_folds is not None:
            chosen = "Strategy, learning rate and temperature were chosen by folds of the training images"
            return f"{chosen}: temperature {tuned.from_folds}"
        if not tuned.held_out.n:
            return "Too few images to hold any out: the temperature is 1"
        selected = "Flip TTA was judged and the temperature was" if tuned.flip_tta else "The temperature was"
        fitted = f": {tuned.held_out.fitted}" if tuned.held_out.fitted is not None else ""
        return f"{selected} fitted on {tuned.held_out.n} images that were not trained on{fitted}"

    @property
    def basis(self) -> str:
        """What the headline must say of the backbone: that it is untrained, or the embedded one; else empty."""
        backbone = self.backbone
        if not (backbone.spec.pretrained or self.start.continues):
            return UNTRAINED
        return EMBEDDED if backbone.weights.source == PACKAGED else ""

    def warnings(self) -> tuple[str, ...]:
        """What must be said beside the accuracy, one sentence each."""
        warnings = []
        if self.basis == UNTRAINED:
            warnings.append(
                "The network is untrained (random weights): pretrained weights do far better on photographs."
            )
        if self.basis == EMBEDDED:
            since = ", since no better one was in reach" if self.start.fell_back else ""
            warnings.append(
                "The backbone is the small network that comes with headstart, trained on drawn pictures and never on "
                f"photographs{since}. On photographs an ImageNet network does far better: {LITE_INSTALL}, or give a "
                "file with --weights FILE."
            )
        tuned = None if self.fine_tuned is None else self.fine_tuned.fine_tuned
        if self.fine_tuned is not None and self.fine_tuned.verdict:
            warnings.append(self.fine_tuned.verdict)
        held = None if tuned is None else tuned.fitted
        if (held is not None and held.at_bound) or (tuned is None and self.start.head is None and self.probe.at_bound):
            warnings.append("The held-out scores say nothing about the classes: no temperature makes them calibrated.")
        draws = self.evaluation.groups or self.evaluation.accuracy.n
        if draws < _FEW:
            kind = "independent group" if self.evaluation.groups else "test image"
            of = f" among {counted(self.evaluation.accuracy.n, 'test image')}" if self.evaluation.groups else ""
            warnings.append(f"Only {counted(draws, kind)}{of}: mind the width of the interval.")
        if self.reviewed is not None:
            warnings.append(str(self.reviewed))
        return tuple(warnings)


def summary_of(dataset: Dataset, source: str | Path) -> DatasetSummary:
    """What `train` reports first: classes, counts, split, problems."""
    return DatasetSummary(
        source=str(source),
        images=len(dataset),
        classes=dataset.classes,
        counts=dataset.counts(),
        protocol=dataset.protocol,
        findings=dataset.findings(),
    )


class WorkersTraining(Protocol):
    """What a training on workers gives; see `ClusterTraining`.

    Attributes:
        leaves_out: whether the head's held-out scores leave out one image or group at a time.
    """

    leaves_out: bool

    def plan(self) -> dict[str, str]:
        """Label → text, in the order to show."""
        ...

    def features(self, into: Path) -> Extracted:
        """Features of all images, as a file."""
        ...

    def solve(self) -> LinearProbe:
        """The head."""
        ...
