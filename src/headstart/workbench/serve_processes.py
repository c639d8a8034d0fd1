"""Several processes that answer at one address: they share its socket, and the one that is free takes the next."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from headstart.distributed.worker_pool import RUN_AGAIN
from headstart.errors import RunError

_LOOK = 0.5  # seconds between two looks at whether the processes live
_FULL = "Mostly the memory is full: each process holds the classifier; use fewer --workers."
_LONGER = 5.0  # than a process gives to what it has accepted, before it is killed

Work = Callable[[socket.socket, Path, int], None]
"""Answers at a socket until SIGTERM; gets the folder that the processes share, and its number. It is pickled."""


def run_processes(work: Work, bound: socket.socket, *, count: int, drain: float) -> None:
    """Answer at a bound socket with so many processes until SIGTERM or Ctrl-C; what they accepted is answered.

    Args:
        drain: seconds that a process gives to what it has accepted.

    Raises:
        RunError: a process ended by itself; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    with tempfile.TemporaryDirectory(prefix="headstart-serve-") as folder:
        processes = [
            context.Process(target=_begin, args=(work, bound, Path(folder), number, os.getpid()))
            for number in range(count)
        ]
        before = signal.signal(signal.SIGTERM, stop) if _in_main() else None
        ended: list[int] = []
        try:
            for process in processes:
                process.start()
            bound.close()  # only those who answer hold it, so that it is refused once they stop
            while not stopping.is_set() and not ended:
                multiprocessing.connection.wait([process.sentinel for process in processes], _LOOK)
                ended = [process.exitcode for process in processes if process.exitcode is not None]
        finally:
            for process in processes:
                if process.is_alive():
                    process.terminate()
            for process in processes:
                if process.pid is not None:
                    process.join(drain + _LONGER)
                    process.kill()
            if before is not None:
                signal.signal(signal.SIGTERM, before)
    if ended and not stopping.is_set():
        raise RunError(
            expected=f"{count} processes that answer",
            found=f"one that ended with code {ended[0]}",
            where="--workers",
            hint=RUN_AGAIN if ended[0] > 0 else _FULL,
        )


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread()  # only there Python takes a handler


def _begin(work: Work, bound: socket.socket, folder: Path, number: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of them; the server listens to it while it runs
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    work(bound, folder, number)


def _end_with(parent: int) -> None:
    """Stop this process when its parent was killed: it would hold the port for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
