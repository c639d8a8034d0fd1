"""compare: two runs on their common test images."""

from __future__ import annotations

import headstart as hs
from headstart.workbench.run import Run


def test_a_run_compared_with_itself_differs_by_nothing(run: Run) -> None:
    comparison = hs.compare(run.folder, run)

    assert comparison.difference.value == 0
    assert comparison.n == run.evaluation.accuracy.n
    assert not comparison.is_significant
