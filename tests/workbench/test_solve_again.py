"""Solving a run again: on its own rows it is the run, bit for bit or to rounding; what cannot be solved is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.data.finding import Finding
from headstart.workbench.run_rows import RunRows
from headstart.workbench.solve_again import check_solvable, head_difference, solve_again, write_again


@pytest.mark.slow
def test_on_the_same_rows_it_is_the_run(run: hs.Run, tmp_path: Path) -> None:
    rows = RunRows.of(run)
    solved = solve_again(run, rows)
    assert head_difference(run.classifier, solved.classifier) < 1e-12
    assert solved.evaluation.accuracy == run.evaluation.accuracy
    assert solved.evaluation.baselines == run.evaluation.baselines or len(solved.evaluation.baselines) == 2
    assert solved.classifier.card.data["fingerprint"] == run.record["data"]["fingerprint"]
    done = Finding("forgotten", "note", "Nothing was removed.")
    write_again(tmp_path, run, solved, target=tmp_path, done=done, more={"note": 1})
    assert "Nothing was removed." in (tmp_path / "report.html").read_text("utf-8")
    again = hs.Run.load(tmp_path)
    assert again.predictions() == run.predictions()
    np.testing.assert_array_equal(again.features.matrix, run.features.matrix)
    assert again.record["note"] == 1
    assert again.record["trust"] == {**run.record["trust"], "foreign": []}  # drawn pictures need the network
    assert "Unfamiliar images and prediction sets" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_a_fine_tuned_network_is_refused(fine_tuned: hs.Run, run: hs.Run) -> None:
    check_solvable(run, verb="forget")
    with pytest.raises(hs.RunError, match="fine-tuned"):
        check_solvable(fine_tuned, verb="forget")
