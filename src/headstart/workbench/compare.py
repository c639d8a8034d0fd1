"""compare: is one run better than another, on the test images that both were measured on?"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from headstart.errors import RunError
from headstart.evaluation.comparison import Comparison, RunPredictions
from headstart.evaluation.comparison import compare as compare_predictions
from headstart.public_api import public_api
from headstart.workbench.argument_order import is_trained
from headstart.workbench.run import Run


@public_api
def compare(first: str | Path | Run, second: str | Path | Run) -> Comparison:
    """Difference between two runs, B minus A, in pairs on their common test images.

    Raises:
        RunError: one is not a run.
        DataError: the two know different classes.
    """
    a, b = _run(first, other=second), _run(second, other=first)
    return compare_predictions(_predictions(a), _predictions(b))


def _run(named: str | Path | Run, *, other: str | Path | Run) -> Run:
    if isinstance(named, Run):
        return named
    try:
        return Run.load(named)
    except RunError as error:
        if not (os.path.exists(named) and is_trained(other)) or is_trained(named):  # noqa: PTH110
            raise
        run = other.folder if isinstance(other, Run) else other
        command = shlex.join(["headstart", "evaluate", str(run), str(named)])
        raise RunError(
            expected="two runs",
            found=error.found,
            where=named,
            hint=f"To measure a classifier on images: {command}",
        ) from error


def _predictions(run: Run) -> RunPredictions:
    rows = [row for row in run.predictions() if row["split"] == "test"]
    return RunPredictions(
        keys=tuple(row["sha256"] for row in rows),
        labels=tuple(row["label"] for row in rows),
        predicted=tuple(row["predicted"] for row in rows),
        classes=run.evaluation.classes,
        groups=tuple(row["group"] for row in rows),
    )
