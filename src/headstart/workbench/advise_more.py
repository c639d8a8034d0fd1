"""advise_more: how many more images, and of which class, from the cached features of a run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from headstart.advice.learning_curve import LearningCurve, measure_learning_curve
from headstart.data.worker_sources import needs_workers
from headstart.errors import RunError
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.workbench.run import Run
from headstart.workbench.run_rows import RunRows
from headstart.workbench.session import Session


@dataclass(frozen=True, kw_only=True)
class MoreImagesAdvice(Plain):
    """The learning curve of a run, and the command to type next; empty where images have to be taken first."""

    run: str
    curve: LearningCurve
    command: str

    @property
    def summary(self) -> str:
        """What the curve says, a few sentences."""
        return self.curve.summary


@public_api
def advise_more(run: str | Path | Run, *, seed: int = 0, on_event: OnEvent | None = print_event) -> MoreImagesAdvice:
    """Forecast how accurate a run's classifier would be with more images, and which class gains most from them.

    It uses the cached features of the training images alone: no image is read, and the test images stay unseen.

    Args:
        run: its folder, or the Run. seed: of the subsets.

    Raises:
        RunError: it is no run, its backbone was fine-tuned, or its images are in too few groups.
    """
    opened = run if isinstance(run, Run) else Run.load(run)
    session = Session(None, {"seed": seed}, on_event)
    head, images = opened.classifier.head, RunRows.of(opened)
    if head.kind == "trained":
        raise RunError(
            expected="a run with a frozen backbone (--strategy probe)",
            found="one that was fine-tuned: its features have learnt the training images by heart",
            where=opened.folder,
            hint="Train with --strategy probe first; it takes seconds.",
        )
    rows = images.training()
    with session.step("learning curve"):
        curve = measure_learning_curve(
            images.features.view(rows.rows, head.stages),
            rows.labels,
            rows.groups,
            names=images.classes,
            seed=seed,
            progress=session.progress("learning curve", unit="heads"),
        )
    command, source = "", str(opened.record["source"])
    verb = {"not-the-limit": "advise", "nothing-learnt": "show"}.get(curve.verdict)
    if verb and not needs_workers(source):
        command = shlex.join(["headstart", verb, source])
    return MoreImagesAdvice(run=str(opened.folder), curve=curve, command=command)
