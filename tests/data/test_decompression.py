"""Compressed streams, compared with what Python's own modules unpack; what follows the last is an error."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data.decompression import open_decompressed

CONTENT = hashlib.shake_128(b"content").digest(150_000) + bytes(150_000)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def read(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    with open_decompressed(path) as file:
        return file.read()


@pytest.mark.slow
@pytest.mark.parametrize("kind", COMPRESS)
def test_several_streams_are_one_content_and_zeros_may_follow(tmp_path: Path, kind: str) -> None:
    one, other = COMPRESS[kind](CONTENT), COMPRESS[kind](CONTENT[::-1])

    assert read(tmp_path / "a", one) == CONTENT
    assert read(tmp_path / "a", one + other + bytes(8)) == CONTENT + CONTENT[::-1]
    assert read(tmp_path / "a", COMPRESS[kind](b"")) == b""


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("rest", [b"garbage that begins no stream", b"\0\0\0x" + bytes(300_000)])
def test_what_follows_the_last_stream_is_an_error(tmp_path: Path, kind: str, rest: bytes) -> None:
    with pytest.raises((OSError, EOFError, lzma.LZMAError)):
        read(tmp_path / "a", COMPRESS[kind](CONTENT) + rest)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("share", [0.3, 0.999])
def test_a_stream_that_ends_early_is_an_error(tmp_path: Path, kind: str, share: float) -> None:
    packed = COMPRESS[kind](CONTENT)
    with pytest.raises(EOFError):
        read(tmp_path / "a", packed[: int(len(packed) * share)])


def test_a_file_that_is_not_compressed_is_read_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path / "a", CONTENT) == CONTENT


def test_an_xz_that_asks_for_gigabytes_of_memory_is_refused(tmp_path: Path) -> None:
    greedy = lzma.compress(CONTENT, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}])
    size = greedy.index(b"\x21\x01") + 2  # of the dictionary, in the block's header
    header = bytearray(greedy[12 : 12 + 4 * (greedy[12] + 1)])
    header[size - 12] = 39  # 3 GB
    header[-4:] = zlib.crc32(bytes(header[:-4])).to_bytes(4, "little")

    with pytest.raises(lzma.LZMAError, match=r"[Mm]emory"):
        read(tmp_path / "a", greedy[:12] + bytes(header) + greedy[12 + len(header) :])
