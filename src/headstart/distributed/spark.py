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

from headstart import runtime
from headstart.distributed.engine import Job, function_of, missing_package, no_workers
from headstart.errors import HeadstartError, RunError

_AHEAD = 4  # items of a Spark job for each worker: results of a job come together
_TRIES = 4  # of a task, as on a cluster; a local master has one
_SCHEMA = "number long, result binary"
_MEMORY = (
    "If Java had no memory, give Spark's driver more (spark.driver.memory) and run it again: finished shards stay."
)


@contextlib.contextmanager
def start(processes: int, address: str) -> Iterator[SparkEngine]:
    """A session at the address of a master, or one of this machine; a session that runs is used and left."""
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise missing_package("spark") from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    own = SparkSession.getActiveSession() is None
    options = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    options |= {"spark.executorEnv.OMP_NUM_THREADS": "1", "spark.sql.execution.arrow.maxRecordsPerBatch": "256"}
    if not address:
        # Spark's 1 GB for all workers of this machine is little: statistics of one shard are 80 MB, copied often
        options["spark.driver.memory"] = f"{max(2, processes or runtime.cores())}g"
        options["spark.driver.maxResultSize"] = "0"
    builder = SparkSession.builder.appName("headstart").master(address or f"local[{processes or '*'},{_TRIES}]")
    try:
        session = builder.config(map=options).getOrCreate()
    except (PySparkException, RuntimeError) as error:
        hint = "Spark needs Java 17 or newer."
        raise no_workers(error, expected="a Spark session", where="--on spark", hint=hint) from error
    errors = (PySparkException, Py4JError)  # the second: of Java itself, like no memory
    try:
        yield SparkEngine(session, processes or session.sparkContext.defaultParallelism, errors=errors)
    finally:
        if own:
            with contextlib.suppress(OSError, Py4JError):  # Java has ended by itself, which another error tells
                session.stop()


class SparkEngine:
    """Runs a job in rounds of a few items for each worker."""

    def __init__(self, session: Any, workers: int, *, errors: tuple[type[Exception], ...]) -> None:
        self.workers, self._session, self._errors = workers, session, errors

    def map(self, job: Job, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(number of the item, its result), round by round.

        Raises:
            RunError: a round failed, or came without all of its results.
        """
        sent, size = pickle.dumps(job), _AHEAD * self.workers
        for begin in range(0, len(items), size):
            few = items[begin : begin + size]
            rows = self._session.range(0, len(few), 1, len(few)).mapInArrow(partial(_work, sent, few), _SCHEMA)
            try:
                found = rows.toArrow()  # collect() loses rows without an error where Java has no memory for them
            except self._errors as error:
                raise no_workers(error, expected="workers that live", where="--on spark", hint=_MEMORY) from error
            _check_whole(found.num_rows, len(few))
            for number, result in zip(found["number"].to_pylist(), found["result"], strict=True):
                result = pickle.loads(result.as_buffer())
                if isinstance(result, HeadstartError):
                    raise result
                yield begin + number, result


def _check_whole(found: int, expected: int) -> None:
    """Raise where results of a round are missing: a head of fewer images than are named would be wrong."""
    if found != expected:
        raise RunError(
            expected=f"{expected} results of a round",
            found=str(found),
            where="--on spark",
            hint=_MEMORY,
        )


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
