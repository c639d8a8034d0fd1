"""The engine `spark`, where it and Java are installed: the same results, lost workers replaced, statistics."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from headstart.distributed.engine import Cluster
from headstart.errors import DataError, RunError
from statistics_parts import check_statistics
from working_jobs import KilledJob, RefusingJob, SquareJob

pa = pytest.importorskip("pyarrow")
from headstart.distributed.spark import SparkEngine  # noqa: E402 (it imports pyarrow)


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


class Rows:
    """A session whose data frames give so many results: each number's square."""

    def __init__(self, least: int) -> None:
        self._least = least

    def range(self, start: int, end: int, step: int, partitions: int) -> Rows:
        self._count = end - start
        return self

    def mapInArrow(self, function: Any, schema: str) -> Rows:  # noqa: N802 (Spark's name)
        return self

    def toArrow(self) -> Any:  # noqa: N802 (Spark's name)
        numbers = list(range(min(self._least, self._count)))
        return pa.table({"number": numbers, "result": [pickle.dumps(number**2) for number in numbers]})


def test_a_round_that_comes_without_some_of_its_results_is_an_error() -> None:
    whole = SparkEngine(Rows(8), 2, errors=())
    assert list(whole.map(SquareJob(Path()), range(11))) == [*((n, n**2) for n in range(8)), (8, 0), (9, 1), (10, 4)]

    lossy = SparkEngine(Rows(5), 2, errors=())
    with pytest.raises(RunError, match=r"8 results of a round, found 5 .*spark\.driver\.memory"):
        list(lossy.map(SquareJob(Path()), range(11)))
