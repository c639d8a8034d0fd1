"""The engine `ray`, where it is installed: the same results, a lost worker replaced, the statistics of `local`."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from headstart.distributed.engine import Cluster
from headstart.errors import DataError, RunError
from statistics_parts import check_statistics
from working_jobs import KilledJob, RefusingJob, SquareJob


@pytest.mark.slow  # a Ray cluster on this machine takes half a minute
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_workers_do_each_item_once_and_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    with Cluster(engine="ray", processes=2).start() as engine:
        assert engine.workers == 2
        assert dict(engine.map(SquareJob(tmp_path), list(range(20)))) == {i: i * i for i in range(20)}
        assert len(list(tmp_path.glob("made-*"))) <= 4  # Ray keeps its processes, but may have started more than two
        with pytest.raises(DataError, match="an even number, found 1"):
            list(engine.map(RefusingJob(), [1]))
        assert dict(engine.map(KilledJob(tmp_path, (3,)), list(range(6)))) == {i: -i for i in range(6)}
        always = KilledJob(tmp_path, (0,), always=True)
        with pytest.raises(RunError, match="workers that live"):
            list(engine.map(always, [0]))
        check_statistics(engine, tmp_path)
