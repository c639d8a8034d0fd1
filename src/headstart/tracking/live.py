"""LiveTracker: sends numbers to a sink from a thread of its own, so that one that fails or hangs costs the run nothing.

The run waits for it at the end, for at most 2 % of its own time or five seconds, whichever is longer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.tracking.sink import Sink
from headstart.tracking.trackers import without_password

SHARE, LEAST = 0.02, 5.0  # of the run's time; seconds: an import of a tracker alone takes two
_WAITING = 10_000  # calls that wait for a slow sink; more are dropped


class LiveTracker:
    """A sink behind a queue.

    Args:
        make: makes the sink, in the thread: the import of a tracker takes seconds.
    """

    def __init__(self, make: Callable[[], Sink], run_id: str, name: str) -> None:
        self.problem = ""
        self._make, self._about = make, (run_id, name)
        self._calls: queue.Queue[tuple[str, tuple[Any, ...]]] = queue.Queue(_WAITING)
        self._began, self._is_complete = time.monotonic(), threading.Event()
        # a daemon: a sink that hangs does not keep the process alive
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Send numbers, without waiting."""
        self._put("scalars", step, dict(values))

    def end(self, params: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]) -> bool:
        """Send the end, wait a little, and say whether all of it arrived; `problem` says why not."""
        self._put("end", dict(params), dict(metrics), tuple(files))
        self._thread.join(max(LEAST, SHARE * (time.monotonic() - self._began)))
        if not self._is_complete.is_set() and not self.problem:
            self.problem = "the tracker has not answered in time"
        return self._is_complete.is_set()

    def _put(self, name: str, *values: Any) -> None:
        try:
            self._calls.put_nowait((name, values))
        except queue.Full:
            self.problem = "the tracker is too slow: numbers were left out"

    def _work(self) -> None:
        try:
            sink = self._make()
            if not sink.start(*self._about):
                self._is_complete.set()
                return
            name = ""
            while name != "end":
                name, values = self._calls.get()
                getattr(sink, name)(*values)
            if not self.problem:
                self._is_complete.set()
        except BaseException as error:  # a tracker may raise anything; the run goes on
            self.problem = without_password(f"{type(error).__name__}: {error}")[:300]
