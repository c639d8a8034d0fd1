"""Runs calls in forked children of this process, which has imported headstart: as many at a time as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from multiprocessing import connection
from typing import Any

Call = Callable[[int], None]
"""Gets the number of a place that no other call has meanwhile, from 0."""


def run_all(calls: Mapping[str, Call], places: int = os.cpu_count() or 1) -> None:
    """Run each call in a child of its own, so that none sees what another changes; here, where nothing can be forked.

    Raises:
        RuntimeError: a call raised, or its child died: its last line has the names and the errors, the tracebacks are
            on stderr. Those that run end first.
    """
    waiting, free, failed = list(calls.items()), list(range(places)), list[str]()
    if "fork" not in multiprocessing.get_all_start_methods():
        for _, call in waiting:
            call(0)
        return
    context = multiprocessing.get_context("fork")
    running: dict[int, tuple[str, int, Any, Any]] = {}
    while running or (waiting and not failed):
        while waiting and free and not failed:
            (name, call), place = waiting.pop(0), free.pop()
            receives, sends = context.Pipe(duplex=False)
            child = context.Process(target=_call, args=(call, place, sends))
            child.start()
            sends.close()
            running[child.sentinel] = name, place, child, receives
        for ended in connection.wait(list(running)):
            assert isinstance(ended, int)
            name, place, child, receives = running.pop(ended)
            child.join()
            free.append(place)
            if child.exitcode:
                failed.append(f"{name}: {_reason(child.exitcode, receives)}")
            receives.close()
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(calls)} calls failed: {'; '.join(failed)}")


def _call(call: Call, place: int, sends: Any) -> None:
    """In the child: what a call raises is said in one line to the parent, which dies of it in its last one."""
    try:
        call(place)
    except BaseException as error:
        traceback.print_exc()
        sends.send(" ".join(f"{type(error).__name__}: {error}".split())[:500])
        raise SystemExit(1) from error


def _reason(code: int, receives: Any) -> str:
    """What the child said, or how it ended where it could say nothing."""
    if receives.poll():
        try:
            return f"{receives.recv()}"
        except EOFError:
            pass  # it died without a word
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
