"""The file of a run's features: one safetensors, filled and read through a memory map, so memory stays flat in N."""

from __future__ import annotations

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from headstart.errors import RunError
from headstart.features.matrix import Features, Rows
from headstart.files import CANNOT, FOR_CACHE, FOR_RUN, disk_full, os_error, os_errors, remove
from headstart.refusals import refusal
from headstart.untrusted import Untrusted, check_regular, parse_object

_CHECKSUM, _DIGITS = "checksum", 8
_BLOCK = 1 << 22  # bytes read at once


def create_file(
    path: Path, names: tuple[str, ...], contents: tuple[str, ...], *, slices: Mapping[str, tuple[int, int]]
) -> Rows:
    """Create a safetensors file for N×D features, names and contents; returns the features as a memory map.

    The header is written here because safetensors' own writer needs the whole matrix in memory.

    Args:
        slices: stage → its columns (start, stop); D is the last stop.

    Raises:
        RunError: the disk is full.
    """
    width = max(stop for _, stop in slices.values())
    text_names = "\0".join(names).encode("utf-8", "surrogateescape")
    codes = bytes.fromhex("".join(contents))
    count = len(names)
    layout = [
        ("features", "F32", [count, width], 4 * count * width),
        ("names", "U8", [len(text_names)], len(text_names)),
        ("contents", "U8", [count, len(codes) // max(count, 1)], len(codes)),
        (_CHECKSUM, "U8", [_DIGITS], _DIGITS),
    ]
    header: dict[str, object] = {"__metadata__": {"slices": json.dumps(dict(slices))}}
    offset = 0
    for key, dtype, shape, size in layout:
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)  # keeps the matrix aligned
    try:
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.seek(4 * count * width, 1)
            file.write(text_names + codes + bytes(_DIGITS))  # `seal_file` writes the checksum when the rows are there
        reserve(path)
    except OSError as error:
        remove(path)
        raise disk_full(path.parent, 8 + len(text) + offset, error, hint=FOR_RUN) from error
    return np.memmap(path, np.float32, "r+", offset=8 + len(text), shape=(count, width))


def scratch_matrix(folder: Path, count: int, width: int) -> Rows:
    """N×D float32 in a file without a name, which is gone with the array: for features that nobody keeps.

    Raises:
        RunError: the disk is full.
    """
    size = 4 * count * width
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".rows-") as file:  # the map outlives the name
            file.truncate(size)
            reserve(Path(file.name))
            return np.memmap(file, np.float32, "r+", shape=(count, width))
    except OSError as error:
        raise disk_full(folder, size, error, hint=FOR_CACHE) from error


def seal_file(path: Path, rows: Rows) -> None:
    """Write the checksum of a file whose rows are filled: it is the file's last bytes.

    Raises:
        RunError: the disk refuses.
    """
    if isinstance(rows, np.memmap):
        rows.flush()
    with os_errors(path, expected="a file that can be written", hint=FOR_RUN), path.open("r+b") as file:
        file.seek(-_DIGITS, 2)
        file.write(_checksum(path))


def sealed_checksum(path: Path) -> str:
    """The checksum that `seal_file` wrote, in hex digits; `load_features` compares it with the bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(-min(_DIGITS, path.stat().st_size), 2)
        return file.read().decode("ascii", "backslashreplace")


def _checksum(path: Path) -> bytes:
    """CRC-32 of a file's bytes but its last, in hex digits."""
    total, left = 0, path.stat().st_size - _DIGITS
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            total, left = zlib.crc32(block, total), left - len(block)
    return f"{total:08x}".encode()


def load_features(path: Path) -> Features:
    """Features of a finished run; the matrix stays on disk.

    The file is read once to compare its checksum, a second for each gigabyte; one that headstart wrote before 0.2 has
    none.

    Raises:
        RunError: the file is missing, damaged or not a features file.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="np") as file:  # checks the header against the file's length
            slices = {stage: (a, b) for stage, (a, b) in parse_object((file.metadata() or {})["slices"]).items()}
            names = file.get_tensor("names").tobytes().decode("utf-8", "surrogateescape").split("\0")
            contents = [row.tobytes().hex() for row in file.get_tensor("contents")]
            shape = file.get_slice("features").get_shape()
            stated = file.get_tensor(_CHECKSUM).tobytes() if _CHECKSUM in file.keys() else b""  # noqa: SIM118
            if stated.strip(b"\0") and stated != _checksum(path):
                raise Untrusted("a damaged file: its checksum is another")
        if len(contents) != len(names) or shape != [len(names), max(stop for _, stop in slices.values())]:
            raise Untrusted("names, contents and features of different numbers")
        with path.open("rb") as raw:
            (length,) = struct.unpack("<Q", raw.read(8))
            begin = parse_object(raw.read(length))["features"]["data_offsets"][0]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, struct.error) as error:
        if refused := refusal(error):
            raise os_error(refused, path, expected="the features of a run, in a file that can be read") from error
        raise RunError(
            expected="the features of a run", found=str(error), where=path, hint="Run `headstart train` again."
        ) from error
    matrix = np.memmap(path, np.float32, "r", offset=8 + length + begin, shape=tuple(shape))
    return Features(matrix, slices, tuple(names), tuple(contents))


def reserve(path: Path) -> None:
    """Allocate every byte of an existing file on the disk; its contents stay as they are.

    A sparse file is allocated while its memory map is filled, and on a full disk the system then ends the process
    without a message. Where the system or the file system cannot reserve, nothing is done.

    Raises:
        OSError: the disk is full.
    """
    status = path.stat()
    if not hasattr(os, "posix_fallocate") or status.st_blocks * 512 >= status.st_size:
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, status.st_size)
        except OSError as error:
            if error.errno not in CANNOT:
                raise
