"""EventHub: what happens, to every open page, as server-sent events; any thread may publish."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

from headstart.plain import to_plain

_HEARTBEAT = 10.0  # seconds between two lines, so that a connection that is gone is noticed
_WAITING = 500  # events for a page that does not read: the oldest are dropped, the page asks for the state again
MOST_PAGES = 32


class EventHub:
    """Pages that listen, and the last event of each kind, which a page gets when it comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[asyncio.Queue[str], asyncio.AbstractEventLoop] = {}
        self._last: dict[str, str] = {}
        self._closed = False

    @property
    def pages(self) -> int:
        """How many listen."""
        return len(self._queues)

    def publish(self, kind: str, values: Any, *, keep: bool = False) -> None:
        """Send an event to all pages.

        Args:
            keep: also to pages that come later, until the next of this kind.
        """
        text = f"event: {kind}\ndata: {json.dumps(to_plain(values), allow_nan=False)}\n\n"
        with self._lock:
            if keep:
                self._last[kind] = text
            listening = list(self._queues.items())
        for queue, loop in listening:
            try:
                loop.call_soon_threadsafe(_put, queue, text)
            except RuntimeError:  # the loop is closed: the server ends
                continue

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self._closed = True
        self.publish("closing", {})

    async def stream(self) -> AsyncIterator[str]:
        """Events as text, for one page."""
        queue: asyncio.Queue[str] = asyncio.Queue(_WAITING)
        with self._lock:
            if len(self._queues) >= MOST_PAGES:
                return
            self._queues[queue] = asyncio.get_running_loop()
            for text in self._last.values():
                _put(queue, text)
        try:
            yield "retry: 1000\n\n"
            while not self._closed:
                try:
                    yield await asyncio.wait_for(queue.get(), _HEARTBEAT)
                except TimeoutError:
                    yield ": alive\n\n"
        finally:
            with self._lock:
                self._queues.pop(queue, None)


def _put(queue: asyncio.Queue[str], text: str) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(text)
