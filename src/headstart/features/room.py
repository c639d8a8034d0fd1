"""Room on the disk for a file that is filled through a memory map: taken before it is filled, or a clear error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from headstart import runtime
from headstart.errors import RunError

FOR_CACHE = "Free some space, or set HEADSTART_CACHE to a folder on a larger disk."
FOR_RUN = "Free some space, or name a folder on a larger disk with --out."
_CANNOT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # what file systems answer that can reserve nothing


def reserve(path: Path) -> None:
    """Give every byte of a file its place on the disk; what is in it stays as it is.

    A file with holes takes its places while the map is filled, and where none is left the system ends the process
    without a word. Where the system or the file system cannot reserve, nothing is done.

    Raises:
        OSError: there is no room.
    """
    status = path.stat()
    if not hasattr(os, "posix_fallocate") or status.st_blocks * 512 >= status.st_size:
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, status.st_size)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise


def no_room(folder: Path, needed: int, error: Exception, hint: str) -> RunError:
    """The error of a folder that does not take so many bytes."""
    return RunError(
        expected=f"{needed / 1e6:.1f} MB that can be written",
        found=f"{runtime.free_bytes(folder) / 1e6:.1f} MB free ({error})",
        where=folder,
        hint=hint,
    )
