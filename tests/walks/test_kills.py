"""Twenty trainings killed at seeded moments: each ends with the weights of one left alone, and leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# in a process of its own: the trainings are forked, which torch forbids after a backward pass in threads
CODE = """
import json, sys
from pathlib import Path
from killed_trainings import Killer
killer = Killer(Path(sys.argv[1]), seed=1)
trials = [killer.trial(number) for number in range(20)]
print(json.dumps({"faults": [list(trial.faults) for trial in trials], "kills": sum(trial.kills for trial in trials)}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_killed_trainings_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    answer = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )

    assert answer.returncode == 0, answer.stderr[-2000:]
    found = json.loads(answer.stdout.splitlines()[-1])
    assert [faults for faults in found["faults"] if faults] == [], answer.stderr[-5000:]
    assert len(found["faults"]) == 20
    assert found["kills"] >= 10  # they were in fact killed
