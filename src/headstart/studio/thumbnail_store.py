"""ThumbnailStore: small pictures of image files, as bytes for a page; the ones used last are kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from headstart.data.images import ImageRules, open_image
from headstart.data.thumbnails import encode_small

_MOST_BYTES = 64_000_000  # nine thousand pictures of 7 kB; others are made again in some milliseconds
LARGE = 1280  # pixels of the longer side of a picture that fills a screen


class ThumbnailStore:
    """Pictures by file, version and side; safe to use from several threads."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most, self._size = most_bytes, 0
        self._kept: OrderedDict[tuple[Path, str, int], tuple[bytes, str]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, version: str, side: int) -> tuple[bytes, str]:
        """The picture and its kind, `jpeg` or `png`; its longer side has at most `side` pixels.

        Raises:
            BadImage: the file cannot be read.
        """
        key = path, version, side
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content, kind, _ = encode_small(open_image(path, ImageRules(keep_damaged=True)).rgb, side=side)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = content, kind
                self._size += len(content)
            while self._size > self._most:
                _, (gone, _) = self._kept.popitem(last=False)
                self._size -= len(gone)
        return content, kind
