"""The engine `local`: worker processes of this machine, one thread each; a worker that is killed is replaced."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.distributed.engine import Job, function_of
from headstart.distributed.worker_pool import RUN_AGAIN, end_workers, ended_itself, results, worker_pool
from headstart.errors import RunError
from headstart.files import atomic_write, make_folder

_DEATHS = 3  # in a row without a result between them: then the item kills its worker, and not somebody's hand


@contextlib.contextmanager
def start(processes: int, address: str) -> Iterator[LocalEngine]:
    """Worker processes, by default one for each core; they start with the first job."""
    with tempfile.TemporaryDirectory(prefix="headstart-jobs-") as folder:
        engine = LocalEngine(processes or runtime.cores(), Path(folder))
        try:
            yield engine
        except BaseException:
            engine.close()
            raise
        engine.close(idle=True)


class LocalEngine:
    """Worker processes that stay between jobs; `folder` is for the jobs on their way to them."""

    def __init__(self, processes: int, folder: Path) -> None:
        self.workers = processes
        self._folder, self._jobs = folder, 0
        self._pool: ProcessPoolExecutor | None = None

    def close(self, *, idle: bool = False) -> None:
        """End the workers; `idle`: all work is done, and they are not waited for."""
        if self._pool is not None:
            end_workers(self._pool, idle=idle)
        self._pool = None

    def map(self, job: Job, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(number of the item, its result) as they finish; items of killed workers are done again by new ones.

        Raises:
            RunError: workers were killed three times without a result between, or one ended by itself.
        """
        self._jobs += 1
        path = make_folder(self._folder) / f"{self._jobs}.job"
        with atomic_write(path) as part:
            part.write_bytes(pickle.dumps(job))
        left, deaths = {number: (str(path), item) for number, item in enumerate(items)}, 0
        while left:
            self._pool = self._pool or worker_pool(self.workers)
            try:
                for number, result in results(self._pool, _work, dict(left), workers=self.workers):
                    del left[number]
                    deaths = 0
                    yield number, result
            except BrokenProcessPool as error:
                code = ended_itself(self._pool)
                self.close()
                deaths += 1
                if code or deaths == _DEATHS:
                    found, hint = f"one that ended by itself, with code {code}", RUN_AGAIN
                    if not code:
                        found = f"{deaths} that were killed one after another"
                        hint = "Mostly the memory is full: use fewer --processes."
                    expected = "worker processes that live"
                    raise RunError(expected=expected, found=found, where="--on local", hint=hint) from error
        path.unlink(missing_ok=True)


def _work(job: str, item: Any) -> Any:
    return function_of(job, lambda: pickle.loads(Path(job).read_bytes()))(item)
