"""Names from a browser: a class becomes one folder's name or is refused, a file gets a name of safe characters."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from headstart.data.split_words import parse_splits
from headstart.data.unlabelled import UNLABELLED
from headstart.errors import DataError

_LONGEST = 80  # characters; file systems allow 255 bytes, of which a character can take four
_FORBIDDEN = frozenset('/\\:*?"<>|')  # in names of files on one system or another
_DEVICES = frozenset(("con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))))
_OWN = ("runs", UNLABELLED)


def class_name(text: object) -> str:
    """The name of a class as the name of its folder, in Unicode's composed form.

    Raises:
        DataError: no folder can or should have that name.
    """
    name = unicodedata.normalize("NFC", text).strip() if isinstance(text, str) else ""
    if not name:
        raise _refused("a name", text)
    if len(name) > _LONGEST:
        raise _refused(f"a name of at most {_LONGEST} characters", f"{len(name)} characters")
    if not name.isprintable() or _FORBIDDEN & set(name):
        raise _refused('a name without control characters and / \\ : * ? " < > |', text)
    if name.startswith((".", "_")) or name.endswith(".") or name.partition(".")[0].casefold() in _DEVICES:
        raise _refused("a name that every system can use for a folder", text)
    if parse_splits([name]) or name.casefold() in _OWN:
        raise _refused(f"a name that is no word for a split (train, test, …) and not {' or '.join(_OWN)}", text)
    return name


def file_stem(text: str) -> str:
    """What a file may be called that comes from a browser as `text`: its last part, in letters, digits, - and _."""
    stem = PurePosixPath(unicodedata.normalize("NFC", text).replace("\\", "/")).stem
    return re.sub(r"[^\w-]+", "-", stem)[:_LONGEST].strip("-_") or "image"


def _refused(expected: str, found: object) -> DataError:
    return DataError(expected=f"{expected} for a class", found=repr(found)[:_LONGEST], where="class name")
