"""The engine `spark`: items as rows of mapInArrow; each Python worker opens a network once; lost tasks come again."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from headstart.distributed.engine import Job, function_of, missing_package, no_workers
from headstart.errors import HeadstartError

_AHEAD = 4  # items of a Spark job for each worker: results of a job come together
_TRIES = 4  # of a task, as on a cluster; a local master has one
_SCHEMA = "number long, result binary"


@contextlib.contextmanager
def start(processes: int, address: str) -> Iterator[SparkEngine]:
    """A session at the address of a master, or one of this machine; a session that runs is used and left."""
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise missing_package("spark") from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    own = SparkSession.getActiveSession() is None
    options = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    options |= {"spark.executorEnv.OMP_NUM_THREADS": "1", "spark.sql.execution.arrow.maxRecordsPerBatch": "256"}
    builder = SparkSession.builder.appName("headstart").master(address or f"local[{processes or '*'},{_TRIES}]")
    try:
        session = builder.config(map=options).getOrCreate()
    except (PySparkException, RuntimeError) as error:
        hint = "Spark needs Java 17 or newer."
        raise no_workers(error, expected="a Spark session", where="--on spark", hint=hint) from error
    try:
        yield SparkEngine(session, processes or session.sparkContext.defaultParallelism, error=PySparkException)
    finally:
        if own:
            session.stop()


class SparkEngine:
    """Runs a job in rounds of a few items for each worker."""

    def __init__(self, session: Any, workers: int, *, error: type[Exception]) -> None:
        self.workers, self._session, self._error = workers, session, error

    def map(self, job: Job, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(number of the item, its result), round by round."""
        sent, size = pickle.dumps(job), _AHEAD * self.workers
        for begin in range(0, len(items), size):
            few = items[begin : begin + size]
            rows = self._session.range(0, len(few), 1, len(few)).mapInArrow(partial(_work, sent, few), _SCHEMA)
            try:
                found = rows.collect()
            except self._error as error:
                raise no_workers(error, expected="workers that live", where="--on spark") from error
            for row in found:
                result = pickle.loads(row["result"])
                if isinstance(result, HeadstartError):
                    raise result
                yield begin + row["number"], result


def _work(job: bytes, items: Sequence[Any], batches: Iterable[Any]) -> Iterator[Any]:
    """Rows with the results of the items that the rows of batches name."""
    function = function_of(job, lambda: pickle.loads(job))
    for batch in batches:
        for place in batch.column(0).to_pylist():
            try:
                result = function(items[place])
            except HeadstartError as error:
                result = error
            yield pa.record_batch({"number": [place], "result": [pickle.dumps(result)]})
