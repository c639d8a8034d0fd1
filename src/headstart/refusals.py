"""What the system refused, where another package says it in words of its own: told by its number, never by its text.

A file that the disk does not give is no damaged file, and a full disk is no damaged archive.
"""

from __future__ import annotations

import errno
import os
import re

OF_A_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
OF_A_LIMIT = {
    errno.EMFILE: "Raise the limit on open files (ulimit -n), or use fewer workers.",
    errno.ENFILE: "Close other programs: the system can open no more files.",
    errno.EFBIG: "Raise the limit on the size of a file (ulimit -f), or choose a disk that holds files of this size.",
    errno.ENOMEM: "Close other programs, or raise the limit on memory.",
}
"""What no other folder and no free space changes, and what to do about it."""
OF_A_DISK = (*OF_A_FULL_DISK, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
"""What a disk answers and a server never does: connections have numbers of their own."""
_WRITTEN = re.compile(r"\(os error (\d+)\)")  # by Rust's standard library, for safetensors


def refusal(error: BaseException | None) -> OSError | None:
    """The refusal of the system behind an error, or behind those that led to it; None: the bytes are at fault.

    Decoders raise an OSError without a number, or seek to where nothing is: that is no refusal.
    """
    while error is not None:
        number = _number(error)
        if number not in (None, errno.EINVAL):
            return error if isinstance(error, OSError) and error.errno else OSError(number, os.strerror(number))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    written = _WRITTEN.search(str(error))
    return int(written.group(1)) if written else None
