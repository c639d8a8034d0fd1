"""Kills: a training ended by SIGKILL or SIGTERM at seeded moments, then resumed or begun again until it is done."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from killed_trainings import Killer


def run(count: int, seed: int) -> dict[str, int]:
    """Trials by outcome; right is: the weights of a training left alone, no traceback, nothing left behind."""
    with tempfile.TemporaryDirectory(prefix="headstart-kills-") as name:
        killer = Killer(Path(name), seed)
        outcomes = Counter[str]()
        for number in range(count):
            trial = killer.trial(number)
            outcomes.update(trial.faults or ["right"])
            outcomes["killed"] += trial.kills
            print(f"{number}: {trial}", flush=True)
    wrong = ("other weights", "traceback", "leftovers", "hang", "no run")
    return {"trials": count, **{name: outcomes[name] for name in ("right", "killed", *wrong)}}
