"""Files that appear whole or not at all, and disk space that is reserved before it is used."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.errors import RunError

FOR_CACHE = "Free some space, or set HEADSTART_CACHE to a folder on a larger disk."
FOR_RUN = "Free some space, or choose a folder on a larger disk with --out."
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # answers of file systems that can reserve nothing
_NAME = 60  # characters of a file's name in that of its temporary neighbour: file systems allow 255 bytes


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it replaces `path` when the block succeeds, else it is removed.

    The bytes are flushed to the disk before the rename, so a power cut leaves the old file or the new one. A link is
    followed; a pipe or device is written directly. The new file has the permissions of any new file, whatever the
    writer asked for.

    Raises:
        OSError: the file cannot be written there.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe, /dev/stdout
        yield path
        return
    path = path.resolve()
    part = path.with_name(f".{path.name[:_NAME]}-{uuid.uuid4().hex}.part")
    try:
        part.touch()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)  # safetensors and mkstemp make files that only their owner can read
        flush(part)
        part.replace(path)
        flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk; where the system cannot, nothing is done."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; names that are not valid Unicode are kept.

    Raises:
        OSError: it cannot be written there.
    """
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8", errors="surrogatepass")


def write_json(path: Path, values: Any) -> None:
    """Write strict JSON (no NaN), indented, whole or not at all.

    Raises:
        OSError: it cannot be written there. ValueError: a number is not finite.
    """
    write_text(path, json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False))


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
            if error.errno not in _CANNOT_RESERVE:
                raise


def disk_full(folder: Path, needed: int, error: Exception, *, hint: str) -> RunError:
    """The error for a folder that cannot take `needed` bytes."""
    return RunError(
        expected=f"{needed / 1e6:.1f} MB that can be written",
        found=f"{runtime.free_bytes(folder) / 1e6:.1f} MB free ({error})",
        where=folder,
        hint=hint,
    )
