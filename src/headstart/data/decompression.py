"""Gzip, bzip2 and xz read to their true end: what stands behind the last stream is an error, and is not left out."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any

GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
"""First bytes of a compressed file."""
_MEMORY = 500_000_000  # bytes that reading an xz may take: `xz -9` takes 65 MB, a hostile header asks for 4 GB
_BLOCK = 1 << 17  # bytes read, and at most unpacked, at once


def open_decompressed(path: Path) -> BufferedIOBase:
    """A file open at its beginning, unpacked while it is read where its first bytes are those of gzip, bzip2 or xz.

    Raises:
        OSError: it cannot be opened. While reading: what `gzip` raises, and what `Streams` does.
    """
    file = path.open("rb")
    head = file.peek(len(XZ))
    if head.startswith(GZIP):
        file.close()
        return gzip.open(path, "rb")  # refuses what follows by itself
    if head.startswith(BZIP2):
        return BufferedReader(Streams(file, bz2.BZ2Decompressor), _BLOCK)
    if head.startswith(XZ):
        return BufferedReader(Streams(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)), _BLOCK)
    return file


class Streams(RawIOBase):
    """The unpacked bytes of compressed streams, one after the other; zeros may follow the last.

    Python's own `BZ2File` and `LZMAFile` end without a word at bytes that begin no stream.

    Args:
        file: of compressed bytes, open at its beginning; closed with this one.
        decompressor: makes one for each stream; it checks the stream's checksum at its end.

    Raises:
        EOFError: while reading: the file ends inside a stream. OSError, lzma.LZMAError: a stream is damaged, or what
            follows one is no stream.
    """

    def __init__(self, file: IO[bytes], decompressor: Callable[[], Any]) -> None:
        self._file, self._new = file, decompressor
        self._stream, self._rest = decompressor(), b""

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer with unpacked bytes; 0 at the end."""
        while not self._stream.eof or self._next_stream():
            if data := self._stream.decompress(self._compressed(), len(buffer)):
                buffer[: len(data)] = data
                return len(data)
        return 0

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()

    def _compressed(self) -> bytes:
        """What the decompressor is to be given next; nothing while it has enough."""
        if not self._stream.needs_input:
            return b""
        block, self._rest = self._rest or self._file.read(_BLOCK), b""
        if not block:
            raise EOFError("it ends early")
        return block

    def _next_stream(self) -> bool:
        """Begin the stream that follows the finished one; False at the end of the file."""
        self._rest = self._stream.unused_data.lstrip(b"\0")
        while not self._rest:
            block = self._file.read(_BLOCK)
            if not block:
                return False
            self._rest = block.lstrip(b"\0")
        self._stream = self._new()
        return True
