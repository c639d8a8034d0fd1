"""A finished run as the place that a training goes on from: its backbone, and its head where it was trained with it."""

from __future__ import annotations

from dataclasses import replace

from headstart.errors import RunError
from headstart.workbench.run import Run
from headstart.workbench.starting_point import StartingPoint


def choose_run(run: Run) -> StartingPoint:
    """The network of a run; a head that was solved has seen the held-out images and is solved anew without them.

    It goes on from the answers for images as they are; whether mirror images help is measured anew after fine-tuning.

    Raises:
        ClassifierError: its file cannot be read.
    """
    model = run.classifier
    flip_tta, model.backbone.flip_tta = model.backbone.flip_tta, None
    head = replace(model.head, flip_tta=False) if model.head.kind == "trained" else None
    return StartingPoint(model.backbone, f"going on from {run.folder}", head, flip_tta)


def check_data(run: Run, fingerprint: str) -> None:
    """See that images, labels and parts are those the run was trained on: else its test images may be trained on.

    Raises:
        RunError: they are not.
    """
    if run.record["data"]["fingerprint"] != fingerprint:
        raise RunError(
            expected="the images, labels and split that the run was trained on",
            found="others",
            where=run.folder,
            hint="Images that were tested on could now be trained on. --anyway goes on; the test is then no test.",
        )
