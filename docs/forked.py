"""Runs calls in forked children of this process, which has imported headstart: as many at a time as there are cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from multiprocessing import connection
from typing import Any

Call = Callable[[int], None]
"""Gets the number of a place that no other call has meanwhile, from 0."""


def run_all(calls: Iterable[Call], places: int = os.cpu_count() or 1) -> None:
    """Run each call in a child of its own, so that none sees what another changes; here, where nothing can be forked.

    Raises:
        RuntimeError: a call raised; its traceback is on stderr. Those that run end first.
    """
    waiting, free, failed = list(calls), list(range(places)), 0
    if "fork" not in multiprocessing.get_all_start_methods():
        for call in waiting:
            call(0)
        return
    context = multiprocessing.get_context("fork")
    running: dict[int, tuple[Any, int]] = {}
    while running or (waiting and not failed):
        while waiting and free and not failed:
            place = free.pop()
            child = context.Process(target=waiting.pop(0), args=(place,))
            child.start()
            running[child.sentinel] = child, place
        for ended in connection.wait(list(running)):
            assert isinstance(ended, int)
            child, place = running.pop(ended)
            child.join()
            free.append(place)
            failed += child.exitcode != 0
    if failed:
        raise RuntimeError(f"{failed} of the calls failed")
