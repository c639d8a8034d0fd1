"""Waiting: features of the images without a class, computed some at a time while nothing else is to be learned."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.features.matrix import Features
from headstart.studio.project import Picture
from headstart.workbench.live_head import LiveHead

_AT_ONCE = 16  # images, well under a second: a label that is given meanwhile waits no longer
MOST = 5000  # images that are ranked, the first by name: 25 MB of features


class Waiting:
    """The features of one folder's images without a class; `step` is called by one thread, the rest by any."""

    def __init__(self, live: LiveHead) -> None:
        self._live, self._lock = live, threading.Lock()
        self._rows: dict[tuple[str, str], NDArray[np.float32] | None] = {}
        self._slices: dict[str, tuple[int, int]] = {}

    def step(self, pictures: Sequence[Picture]) -> bool:
        """Compute the next features; whether there were any to compute. An image that cannot be read has none.

        Raises:
            DataError: an image changed while it was read.
        """
        todo = [one for one in pictures[:MOST] if _key(one) not in self._rows][:_AT_ONCE]
        if not todo:
            return False
        found = self._live.features_of([one.sample for one in todo])
        rows = dict(zip(found.names, np.array(found.matrix), strict=True))
        wanted = {_key(one) for one in pictures}
        with self._lock:
            self._slices = dict(found.slices)
            kept = {key: row for key, row in self._rows.items() if key in wanted}
            self._rows = kept | {_key(one): rows.get(one.sample.name) for one in todo}
        return True

    def features(self, pictures: Sequence[Picture]) -> tuple[list[Picture], Features] | None:
        """The pictures whose features are there, and these, in their order; None: there are none yet."""
        with self._lock:
            ready = [(one, row) for one in pictures if (row := self._rows.get(_key(one))) is not None]
            if not ready:
                return None
            names = tuple(one.id for one, _ in ready)
            return [one for one, _ in ready], Features(np.stack([row for _, row in ready]), self._slices, names, names)

    def done(self, pictures: Sequence[Picture]) -> int:
        """How many of the pictures have been looked at."""
        return sum(_key(one) in self._rows for one in pictures)


def _key(picture: Picture) -> tuple[str, str]:
    return picture.sample.name, picture.version
