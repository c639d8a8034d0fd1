"""compare: is one run better than another, on the test images that both were measured on?"""

from __future__ import annotations

from pathlib import Path

from headstart.evaluation.comparison import Comparison, RunPredictions
from headstart.evaluation.comparison import compare as compare_predictions
from headstart.public_api import public_api
from headstart.workbench.run import Run


@public_api
def compare(first: str | Path | Run, second: str | Path | Run) -> Comparison:
    """Difference between two runs, B minus A, in pairs on their common test images.

    Raises:
        RunError: one is not a run.
        DataError: the two know different classes.
    """
    a, b = (run if isinstance(run, Run) else Run.load(run) for run in (first, second))
    return compare_predictions(_predictions(a), _predictions(b))


def _predictions(run: Run) -> RunPredictions:
    rows = [row for row in run.predictions() if row["split"] == "test"]
    return RunPredictions(
        keys=tuple(row["sha256"] for row in rows),
        labels=tuple(row["label"] for row in rows),
        predicted=tuple(row["predicted"] for row in rows),
        classes=run.evaluation.classes,
        groups=tuple(row["group"] for row in rows),
    )
