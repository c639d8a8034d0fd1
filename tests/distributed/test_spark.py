"""The engine `spark`, where it and Java are installed: the same results, lost workers replaced, statistics."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from headstart.distributed.engine import Cluster
from headstart.errors import DataError
from statistics_parts import check_statistics
from working_jobs import KilledJob, RefusingJob, SquareJob


@pytest.mark.slow  # a Spark session on this machine takes half a minute
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed")
@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
def test_workers_do_each_item_once_and_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    with Cluster(engine="spark", processes=2).start() as engine:
        assert engine.workers == 2
        assert dict(engine.map(SquareJob(tmp_path), list(range(20)))) == {i: i * i for i in range(20)}
        assert 1 <= len(list(tmp_path.glob("made-*"))) <= 2
        with pytest.raises(DataError, match="an even number, found 1"):
            list(engine.map(RefusingJob(), [1]))
        assert dict(engine.map(KilledJob(tmp_path, (3,)), list(range(6)))) == {i: -i for i in range(6)}
        check_statistics(engine, tmp_path)
