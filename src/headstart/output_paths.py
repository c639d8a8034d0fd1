"""Where a verb is to write, checked before it computes anything: names that no disk can hold, folders that are missing.

Every path that a user names for output passes here first, so that no work is lost for a path that was wrong from the
beginning. What happens to the disk later is found by `files.py`, when it writes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from pathlib import Path

from headstart.errors import HeadstartError, RunError
from headstart.files import expanded, os_error, printable

PAGES = (".html", ".htm")  # files that a page may replace
# of what the verbs write into their folders: whoever names one wants a file
_FILES = frozenset({".onnx", ".safetensors", ".html", ".png", ".json", ".csv", ".parquet", ".pt", ".pth"})


def writable_file(
    path: str | os.PathLike[str],
    where: str = "--out",
    *,
    expected: str = "a file that can be written",
    replaces: Collection[str] = (),
    makes_parents: bool = False,
    for_model: bool = False,
    kind: type[HeadstartError] = RunError,
) -> Path:  # seven: what may be written, and how a refusal is said
    """The path of a file that a verb will write, as the user named it, with ~ replaced.

    Args:
        where: the option, for a path without a name.
        replaces: suffixes of the files that may be written over; empty: all of them.
        makes_parents: the writer makes the folders above it.
        for_model: it will hold tensors.

    Raises:
        HeadstartError: of the given kind: a folder, a file of another kind or a read-only one has this name, the folder
            above is missing or cannot be written to, or no file can have this name.
    """
    path = _possible(path, where, expected=expected, kind=kind)
    _check_encoding(path, for_model=for_model, kind=kind)
    if path.is_dir():
        raise kind(expected=expected, found="a folder", where=path, hint="Name a file in it.")
    if not makes_parents and not path.absolute().parent.is_dir():
        raise kind(expected=expected, found="no such folder", where=path.parent, hint="Create the folder first.")
    if replaces and path.is_file() and path.suffix.lower() not in replaces:  # such as the photograph itself
        hint = f"Name a file {' or '.join(replaces)}, or one that does not exist."
        raise kind(expected=expected, found="a file of another kind, which stays", where=path, hint=hint)
    if path.exists():  # a read-only file would be replaced, since its folder is not
        _check_access(path, expected=expected, kind=kind, mode=os.W_OK)
    if not path.exists() or path.is_file():  # a device or a pipe is written as it is
        _check_parent(path, expected=expected, kind=kind)
    return path


def writable_folder(
    path: str | os.PathLike[str],
    where: str = "--out",
    *,
    expected: str = "a folder that can be written",
    is_new: bool = False,
    for_model: bool = False,
    kind: type[HeadstartError] = RunError,
) -> Path:  # six: as for a file
    """The path of a folder that a verb will make or write into; those above it are made with it.

    Args:
        where: the option, for a path without a name.
        is_new: a folder beside it is made where something has this name already.
        for_model: files in it will hold tensors.

    Raises:
        HeadstartError: of the given kind: a file has this name or that of a folder above it, one of them cannot be
            written to, or no folder can have this name.
    """
    path = _possible(path, where, expected=expected, kind=kind)
    _check_encoding(path, for_model=for_model, kind=kind)
    if os.path.lexists(path) and not (path.is_dir() or path.is_file()):
        found = "a device or a pipe" if path.exists() else "a link that leads nowhere"
        raise kind(expected=expected, found=found, where=path, hint="Name another folder.")
    if path.exists() and not path.is_dir() and not is_new:
        raise kind(expected=expected, found="a file", where=path, hint="Name another folder.")
    if path.suffix.lower() in _FILES and not path.is_dir():
        hint = "Name a folder, in which the files get their names."
        raise kind(expected=expected, found=f"the name of a {path.suffix} file", where=path, hint=hint)
    if path.is_dir() and not is_new:
        _check_access(path, expected=expected, kind=kind)
    else:
        _check_parent(path, expected=expected, kind=kind)
    return path


def _possible(path: str | os.PathLike[str], where: str, *, expected: str, kind: type[HeadstartError]) -> Path:
    text = os.fspath(path)
    if not text or "\0" in text:
        raise kind(
            expected=expected,
            found="an empty name" if not text else "a name with a NUL character",
            where=where,
            hint="Name a file or a folder.",
        )
    found = expanded(text, kind=kind)
    try:
        found.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # of a new one; what stands in its way is found below
    except OSError as error:
        raise os_error(error, found, expected=expected, kind=kind) from error
    except ValueError as error:  # characters that the system's encoding of names does not have
        raise kind(
            expected=expected,
            found=f"a name that this system cannot have ({error})",
            where=where,
            hint="Choose another name.",
        ) from error
    return found


def _check_encoding(path: Path, *, for_model: bool, kind: type[HeadstartError]) -> None:
    """The library that writes tensors takes names in UTF-8 only, down from the root of the disk."""
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError:
        if for_model:
            raise kind(
                expected="a path in UTF-8",
                found="bytes that are none",
                where=printable(path.absolute()),
                hint="Choose another folder with --out, or rename the one that has such a name.",
            ) from None


def _check_parent(path: Path, *, expected: str, kind: type[HeadstartError]) -> None:
    """The nearest folder above that exists is a folder, and may be written to."""
    above = next((one for one in path.absolute().parents if os.path.lexists(one)), None)
    if above is not None and not above.is_dir():
        error = OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        raise os_error(error, above, expected=expected, kind=kind)
    if above is not None:
        _check_access(above, expected=expected, kind=kind)


def _check_access(path: Path, *, expected: str, kind: type[HeadstartError], mode: int = os.W_OK | os.X_OK) -> None:
    if not os.access(path, mode):
        error = OSError(errno.EACCES, os.strerror(errno.EACCES))
        raise os_error(error, path, expected=expected, kind=kind)
