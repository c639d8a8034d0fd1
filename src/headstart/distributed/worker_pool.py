"""Worker processes of this machine: they are spawned, leave Ctrl-C to their parent, and end when it is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.process import BaseProcess
from typing import Any

RUN_AGAIN = (
    'In a script, call this below `if __name__ == "__main__":`, because each worker runs the script once more; '
    "otherwise see what the worker printed above."
)
"""What is next where a worker ended by itself: in a script without that line each does, as it starts."""
_AHEAD = 2  # items sent to each worker, so that none waits
_GRACE = 2.0  # seconds for idle workers to end: torch takes some tenths


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """A pool whose workers start with the first items."""
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(processes, mp_context=spawn, initializer=_begin, initargs=(os.getpid(),))


def ended_itself(pool: ProcessPoolExecutor) -> int:
    """The exit code of a worker of a broken pool that no signal ended; 0 if there is none."""
    workers = list((pool._processes or {}).values())
    for worker in workers:
        worker.join(_GRACE)  # the pool is ending them
    return next((code for code in (worker.exitcode for worker in workers) if code and code > 0), 0)


def end_workers(pool: ProcessPoolExecutor, *, idle: bool) -> None:
    """End the workers; what is not begun is dropped.

    Args:
        idle: all work is done: they end by themselves, and one that is just starting, which takes seconds, is killed.
    """
    workers = list((pool._processes or {}).values())
    late = threading.Timer(_GRACE, _kill, (workers,))
    if idle:  # not killed at once: what a killed worker has named, such as semaphores, is reported as leaked
        late.start()
    pool.shutdown(wait=True, cancel_futures=True)
    late.cancel()


def _kill(workers: Iterable[BaseProcess]) -> None:
    for worker in workers:
        worker.kill()


def results(
    pool: ProcessPoolExecutor, work: Callable[..., Any], items: Mapping[int, tuple[Any, ...]], *, workers: int
) -> Iterator[tuple[int, Any]]:
    """(number of the item, what `work` returns for it) as they finish, few items on their way at a time.

    Args:
        items: number → the arguments of `work`.

    Raises:
        BrokenProcessPool: a worker died.
    """
    waiting, running = iter(items.items()), dict[Future[Any], int]()

    def send() -> None:
        for number, item in waiting:
            running[pool.submit(work, *item)] = number
            if len(running) >= _AHEAD * workers:
                return

    send()
    while running:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda one: one.exception() is not None):  # results first
            yield running.pop(future), future.result()
        send()


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker when its parent was killed: nobody else would."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
