"""The engine `local`: worker processes of this machine, one thread each; a worker that is killed is replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.distributed.engine import Job, function_of
from headstart.errors import RunError
from headstart.files import atomic_write, make_folder

_DEATHS = 3  # in a row without a result between them: then the item kills its worker, and not somebody's hand
_AHEAD = 2  # items sent to each worker, so that none waits


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
    """Worker processes that stay between jobs.

    Args:
        folder: for the jobs on their way to the workers.
    """

    def __init__(self, processes: int, folder: Path) -> None:
        self.workers = processes
        self._folder = folder
        self._jobs = 0
        self._pool: ProcessPoolExecutor | None = None

    def close(self, *, idle: bool = False) -> None:
        """End the workers; what is not begun is dropped.

        Args:
            idle: all work is done, and they are not waited for: one may just be starting, which takes seconds.
        """
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()) if idle else []:
                process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None

    def map(self, job: Job, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(number of the item, its result) as they finish; items of killed workers are done again by new ones.

        Raises:
            RunError: workers were killed three times without a result between.
        """
        self._jobs += 1
        make_folder(self._folder)
        path = self._folder / f"{self._jobs}.job"
        with atomic_write(path) as part:
            part.write_bytes(pickle.dumps(job))
        left, deaths = dict(enumerate(items)), 0
        while left:
            try:
                for number, result in self._pass(str(path), dict(left)):
                    del left[number]
                    deaths = 0
                    yield number, result
            except BrokenProcessPool as error:
                self.close()
                deaths += 1
                if deaths == _DEATHS:
                    raise RunError(
                        expected="worker processes that live",
                        found=f"{deaths} that were killed one after another",
                        where="--on local",
                        hint="Mostly the memory is full: use fewer --processes.",
                    ) from error
        path.unlink(missing_ok=True)

    def _pass(self, job: str, items: dict[int, Any]) -> Iterator[tuple[int, Any]]:
        """Results until all are there or a worker dies; few items are on their way at a time."""
        pool = self._pool = self._pool or _pool(self.workers)
        waiting, running = iter(items.items()), {}

        def send() -> None:
            for number, item in waiting:
                running[pool.submit(_work, job, item)] = number
                if len(running) >= _AHEAD * self.workers:
                    return

        send()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            futures: list[Future[Any]] = sorted(done, key=lambda one: one.exception() is not None)  # results first
            for future in futures:
                yield running.pop(future), future.result()
            send()


def _pool(processes: int) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(processes, mp_context=spawn, initializer=_begin, initargs=(os.getpid(),))


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker when its parent was killed: nobody else would."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _work(job: str, item: Any) -> Any:
    return function_of(job, lambda: pickle.loads(Path(job).read_bytes()))(item)
