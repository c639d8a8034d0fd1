"""Memory that decoding takes: estimated from a file's header in bytes, bounded for one image and for all threads.

A file of 25 kB can hold 200 million pixels. Images with more pixels than any network needs are reduced while they are
decoded, one that needs more memory than the bound is refused, and threads wait until theirs fits beside the others'.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import ImageFile

MOST_BYTES = 1_000_000_000  # with Python, torch and the prepared images a process stays under 1.5 GB
MOST_PIXELS = 32_000_000  # after reduction: networks see at most 2048×2048 = 4 million
_BAND_BYTES = 60_000_000  # while a band is converted, in float64 at most

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # Pillow's bytes per pixel, else 4
# format → bytes per pixel beside those of the decoded image, estimated from what each decoder keeps
_WHILE_DECODING = {
    "GIF": 4,
    "WEBP": 16,
    "TIFF": 4,
    "AVIF": 12,
    "HEIF": 12,
    "JPEG2000": 16,
    "ICO": 4,
}
_COEFFICIENTS = 6  # bytes per pixel that libjpeg keeps of a progressive JPEG, without subsampling


def reduction(pixels: int) -> int:
    """By what factor the sides of an image with so many pixels are divided: 1, 2, 4 or 8."""
    return next((factor for factor in (1, 2, 4) if pixels <= MOST_PIXELS * factor**2), 8)


def bytes_needed(image: ImageFile.ImageFile, file_bytes: int) -> int:
    """Memory that an opened image takes while it is decoded, reduced and converted, in bytes.

    Args:
        file_bytes: size of the file, which is in memory, too.
    """
    pixels = image.width * image.height
    kept = pixels // reduction(pixels) ** 2
    if image.format in ("JPEG", "MPO"):  # reduced while it is decoded
        return file_bytes + 7 * kept + (_COEFFICIENTS * pixels if image.info.get("progressive") else 0)
    per_pixel = _STORED.get(image.mode, 4) + _WHILE_DECODING.get(str(image.format), 0)
    return file_bytes + per_pixel * pixels + 3 * kept + min(_BAND_BYTES, 24 * pixels)


class MemoryBudget:
    """So many bytes for all threads of a process; who does not fit waits, a single image always fits.

    Args:
        total: bytes.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._freed = threading.Condition()

    @contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Hold so many bytes while inside; waits until they are free."""
        with self._freed:
            self._freed.wait_for(lambda: not self._used or self._used + size <= self._total)
            self._used += size
        try:
            yield
        finally:
            with self._freed:
                self._used -= size
                self._freed.notify_all()
