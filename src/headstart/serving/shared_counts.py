"""SharedCounts: what each process of a server has counted, in a folder that they share, so that any of them can sum."""

from __future__ import annotations

from pathlib import Path

from headstart.errors import RunError
from headstart.files import write_json
from headstart.serving.metrics import Counts, Metrics
from headstart.untrusted import read_object

SECONDS = 1.0  # between two looks at whether there is news: a scrape every 15 s is usual


class SharedCounts:
    """The counts of one process for the others, and theirs for it.

    Args:
        folder: that all of them may write. number: of this process, from 0.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._own = folder, folder / f"{number}.json"
        self._last: Counts | None = None

    def publish(self, metrics: Metrics) -> None:
        """Write the counts of this process, where there is something new."""
        counts = metrics.counts()
        if self._last is None or counts.images != self._last.images or counts.requests != self._last.requests:
            try:
                write_json(self._own, counts.to_dict())
                self._last = counts
            except RunError:
                return  # a full disk: the others show older numbers, and what is asked for is answered all the same

    def others(self) -> list[Counts]:
        """The counts of the other processes as they published them last."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            if path != self._own:
                found.append(Counts.from_dict(read_object(path)))
        return found
