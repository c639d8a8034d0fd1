"""Twenty trainings killed at seeded moments: each ends with the weights of one left alone, and leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_killed_trainings_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    from killed_trainings import Killer

    killer = Killer(tmp_path, seed=1)
    trials = [killer.trial(number) for number in range(20)]

    assert [trial for trial in trials if trial.faults] == []
    assert sum(trial.kills for trial in trials) >= 10  # they were in fact killed
