"""ThumbnailStore: small pictures of image files, as bytes for a page; the ones used last are kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.images import ImageRules, open_image
from headstart.data.thumbnails import SIDE, encode_small

_MOST_BYTES = 64_000_000  # nine thousand pictures of 7 kB; others are made again in some milliseconds
_MOST_FRESH = 1000  # pictures of files that nobody has asked for yet, 7 MB
LARGE = 1280  # pixels of the longer side of a picture that fills a screen


_File = tuple[int, int, int, int]  # what a file keeps when it is moved: device, inode, time of change in ns, bytes


class ThumbnailStore:
    """Pictures by file, version and side; safe to use from several threads."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most, self._size = most_bytes, 0
        self._kept: OrderedDict[tuple[Path, str, int], tuple[bytes, str]] = OrderedDict()
        self._fresh: OrderedDict[_File, tuple[bytes, str]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, path: Path, rgb: NDArray[np.uint8]) -> None:
        """Keep the small picture of a file that has just been decoded: it is not decoded again, whatever its name is.

        Args:
            rgb: H×W×3, its pixels.
        """
        identity = _identity(path)
        content, kind, _ = encode_small(rgb, side=SIDE)
        if identity is None:
            return
        with self._lock:
            self._fresh[identity] = content, kind
            while len(self._fresh) > _MOST_FRESH:
                self._fresh.popitem(last=False)

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
        identity = _identity(path) if side == SIDE else None
        with self._lock:
            fresh = self._fresh.pop(identity, None) if identity is not None else None
        content, kind = fresh or encode_small(open_image(path, ImageRules(keep_damaged=True)).rgb, side=side)[:2]
        with self._lock:
            if key not in self._kept:
                self._kept[key] = content, kind
                self._size += len(content)
            while self._size > self._most:
                _, (gone, _) = self._kept.popitem(last=False)
                self._size -= len(gone)
        return content, kind


def _identity(path: Path) -> _File | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
