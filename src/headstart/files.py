"""Files that appear whole or not at all, folders for unfinished work, and what the system refuses as errors of ours.

The one place where an OSError of writing becomes a HeadstartError: with the path, the reason and what to do next.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.errors import HeadstartError, RunError
from headstart.refusals import OF_A_FULL_DISK, OF_A_LIMIT, refusal

FOR_CACHE = "Free some space, or set HEADSTART_CACHE to a folder on a larger disk."
FOR_RUN = "Free some space, or choose a folder on a larger disk with --out."
FOR_OUT = "Choose another folder with --out."
_ELSEWHERE = {FOR_CACHE: "Set HEADSTART_CACHE to another folder.", FOR_RUN: FOR_OUT}  # where space is not what is short
_HINTS = {
    errno.ENOSPC: "Free some space, or choose a folder on a larger disk.",
    errno.EDQUOT: "Free some space, or choose a folder on another disk.",
    errno.EACCES: "Choose a folder that you may write to, or change its permissions.",
    errno.EPERM: "Choose a folder that you may write to, or change its permissions.",
    errno.EROFS: "Choose a folder on a disk that can be written to.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path: a file stands where a folder is needed.",
    errno.EIO: "Check the disk and its connection.",
    errno.ENOTEMPTY: "Run it again: something was put there meanwhile, perhaps by the same command.",
}
_CHECK = "Check the path, its permissions and the disk."
CANNOT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What a file system answers to what it has no means for."""
_NO_LOCKS = (*CANNOT, errno.ENOLCK)
_NAME = 60  # characters of a file's name in that of its temporary neighbour: file systems allow 255 bytes
_LOCK = "lock"
_HIDDEN = re.compile(r"(^|[/\\])\.[^/\\]+-[0-9a-f]{8}\.part[/\\]")
_made: ContextVar[list[Path] | None] = ContextVar("_made", default=None)


def os_error(
    error: OSError, where: object = "", *, expected: str = "", hint: str = "", kind: type[HeadstartError] = RunError
) -> HeadstartError:
    """What the system refused, as one of our errors.

    Args:
        where: the path; empty: the one that the error names. expected, hint: empty: by the kind of refusal.
    """
    hint = hint if error.errno in OF_A_FULL_DISK else _ELSEWHERE.get(hint, hint)
    return kind(
        expected=expected or "a file or folder that can be used",
        found=error.strerror or str(error) or type(error).__name__,
        where=_final(printable(where or error.filename or "")),
        hint=OF_A_LIMIT.get(error.errno or 0) or hint or _HINTS.get(error.errno or 0, _CHECK),
    )


def _final(path: str) -> str:
    """A path as it will be called: without the hidden folder of `work_folder`."""
    return _HIDDEN.sub(r"\1", path)


@contextlib.contextmanager
def os_errors(
    where: object = "", *, expected: str = "", hint: str = "", kind: type[HeadstartError] = RunError
) -> Iterator[None]:
    """Raise what the system refuses in the block as one of our errors; see `os_error`."""
    try:
        yield
    except OSError as error:
        raise os_error(error, where, expected=expected, hint=hint, kind=kind) from error


@contextlib.contextmanager
def all_or_none() -> Iterator[None]:
    """Remove what the block has made so far, should an error or a signal end it.

    Only what was not there before is removed, and a folder only while it is empty: what others put there stays. A file
    that was replaced keeps its new content. Blocks may stand inside each other; threads do not see each other's.
    """
    outer, mine = _made.get(), list[Path]()
    token = _made.set(mine)
    try:
        yield
    except BaseException:
        for path in reversed(mine):
            with contextlib.suppress(OSError):  # not made after all, or no longer empty
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        raise
    else:
        if outer is not None:
            outer += mine
    finally:
        _made.reset(token)


def will_make(path: Path) -> None:
    """Say that a file or folder is about to be made: before it is, so that no signal comes in between."""
    made = _made.get()
    if made is not None:
        made += [one for one in (*reversed(path.parents), path) if not one.exists()]


@contextlib.contextmanager
def atomic_write(
    path: Path,
    *,
    expected: str = "a file that can be written",
    hint: str = "",
    kind: type[HeadstartError] = RunError,
) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it replaces `path` when the block succeeds, else it is removed.

    The bytes are flushed to the disk before the rename, so a power cut leaves the old file or the new one. A link is
    followed; a pipe or device gets the bytes and stays what it is. The new file has the permissions of any new file,
    whatever the writer asked for. What a killed process left of an earlier attempt is removed first.

    Raises:
        HeadstartError: of the given kind: the file cannot be written there.
    """
    with os_errors(path, expected=expected, hint=hint, kind=kind), all_or_none():
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe, /dev/stdout
            with _sent_to(path) as sent:
                yield sent
            return
        path = Path(os.path.realpath(path))  # unlike Path.resolve it takes a link to itself, which is replaced
        names, held, part = _part_names(path), list[int](), None
        try:
            part = _open_part(names, held)
            mode = part.stat().st_mode
            yield part
            part.chmod(mode)  # safetensors and mkstemp make files that only their owner can read
            flush(part)
            _close(held)  # Windows cannot rename an open file
            will_make(path)
            part.replace(path)
            flush(path.parent)
        finally:
            _close(held)
            with contextlib.suppress(OSError):
                if part is not None:
                    part.unlink(missing_ok=True)
            if part is None:  # a signal came between making it and knowing it
                for name in names:
                    remove_abandoned_part(name)


@contextlib.contextmanager
def _sent_to(path: Path) -> Iterator[Path]:
    """A file whose bytes go to a pipe or device: some writers, safetensors' for one, replace what they are given."""
    with tempfile.TemporaryDirectory() as folder:
        (part := Path(folder) / path.name).touch()
        yield part
        with part.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


def _part_names(path: Path) -> tuple[Path, Path]:
    """The temporary files that may stand for a path: the second where another process writes it now."""
    name = path.name[:_NAME]
    return path.with_name(f".{name}.part"), path.with_name(f".{name}-{uuid.uuid4().hex}.part")


def _open_part(names: tuple[Path, Path], held: list[int]) -> Path:
    """Make the first of the files that is free; `held` gets the handle by which this process holds it."""
    remove_abandoned_part(names[0])
    for part in names:
        with contextlib.suppress(FileExistsError):
            held.append(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
            hold(held[-1])
            return part
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(part))


def _close(held: list[int]) -> None:
    while held:
        os.close(held.pop())


def hold(handle: int, *, wait: bool = False) -> bool:
    """Lock an open file for as long as it is open; False where another process holds it, unless we wait for that."""
    if os.name == "nt":
        return True  # there an open file cannot be removed: nothing else is needed
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return False
    return True


def remove_abandoned_part(part: Path) -> None:
    """Remove the temporary file of a process that is gone; one that is being written stays."""
    try:
        handle = os.open(part, os.O_RDWR)
    except OSError:  # there is none
        return
    abandoned = hold(handle)
    os.close(handle)
    if abandoned:
        with contextlib.suppress(OSError):  # on Windows: another process has it open
            part.unlink()


class FolderLock:
    """That this process works in a folder: held until `release` or until the process ends, however it ends.

    On a file system without locks nobody is kept out.
    """

    def __init__(self, folder: Path) -> None:
        import filelock  # here: most commands need no lock

        self.folder = folder
        self.file = folder / _LOCK
        self._lock = filelock.FileLock(self.file, fallback_to_soft=False)
        self._taken = filelock.Timeout

    def acquire(self) -> bool:
        """Take the lock; False where another process, or another training of this one, has it.

        Raises:
            OSError: the folder is not there, or cannot be written to.
        """
        if not self.folder.is_dir():  # filelock would make it
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder))
        try:
            self._lock.acquire(timeout=0)
        except self._taken:
            return False
        except NotImplementedError:
            return True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        return True

    def make(self) -> bool:
        """Make the folder and take its lock; False where it is there, or another process cleared it in between.

        Raises:
            OSError: the system refuses, for some folders with the words that something is missing (/proc).
        """
        try:
            self.folder.mkdir()
        except FileExistsError:
            return False
        try:
            return self.acquire()
        except FileNotFoundError:
            if not self.folder.parent.is_dir():
                raise
            return False

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock; False on a file system without locks."""
        return self._lock.is_locked

    def release(self) -> None:
        """Let others work there."""
        self._lock.release()


def remove_if_abandoned(folder: Path) -> bool:
    """Remove a folder of unfinished work in which nobody works: the process that made it is gone.

    Its lock is held meanwhile, so that a folder which another process has just made is never half removed.

    Returns:
        Whether it is gone.
    """
    lock = FolderLock(folder)
    try:
        if not (lock.acquire() and lock.is_held):
            return False
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    finally:
        lock.release()
    shutil.rmtree(folder, ignore_errors=True)  # the lock itself, which Windows cannot remove while it is open
    return not folder.exists()


@contextlib.contextmanager
def work_folder(
    target: Path,
    *,
    expected: str = "a folder that can be written",
    hint: str = FOR_OUT,
    kind: type[HeadstartError] = RunError,
) -> Iterator[Path]:
    """Yield a new folder for the unfinished form of `target`, in a hidden one beside it that is removed afterwards.

    `publish_folder` moves the finished one to its place. The hidden folder is locked while the process lives; what a
    killed process left is removed by the next call for the same target. Parents made for it go if they stay empty.

    Raises:
        HeadstartError: of the given kind: the folder cannot be made.
    """
    hidden = target.with_name(f".{target.name[:_NAME]}-{uuid.uuid4().hex[:8]}.part")
    lock, missing = FolderLock(hidden), list[Path]()
    try:
        with os_errors(target.parent, expected=expected, hint=hint, kind=kind):
            missing += [folder for folder in target.parents if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(target)
            while not lock.make():  # another process took it for abandoned before it was locked
                time.sleep(0.01)
            inner = hidden / target.name  # a name that is too long is refused here, not when all is done
            inner.mkdir()
        yield inner
    finally:
        _clear(lock)
        with contextlib.suppress(OSError):  # not empty: something was published, or others write there
            for folder in missing:
                folder.rmdir()


def _clear(lock: FolderLock) -> None:
    try:
        lock.release()  # Windows cannot remove an open file
    finally:
        shutil.rmtree(lock.folder, ignore_errors=True)


def publish_folder(folder: Path, target: Path) -> Path:
    """Give a finished folder of `work_folder` its name: the first of `target`, `target-2`, … that is free.

    Raises:
        RunError: it cannot be renamed.
    """
    with os_errors(target, expected="a folder that can be renamed", hint=FOR_OUT):
        while True:
            final = free_name(target)
            try:
                return folder.rename(final)
            except OSError:
                if not final.exists():  # not a race lost to another process: a real failure
                    raise


def free_name(target: Path) -> Path:
    """The first of `target`, `target-2`, … that is free; what names a folder inside itself asks for it ahead."""
    names = (target if number == 1 else target.with_name(f"{target.name}-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def remove_abandoned(target: Path) -> None:
    """Remove the hidden folders of `work_folder` that killed processes left for a target."""
    prefix = f".{target.name[:_NAME]}-"
    for entry in sorted(target.parent.iterdir()):
        if entry.name.startswith(prefix) and entry.name.endswith(".part") and entry.is_dir():
            remove_if_abandoned(entry)


def remove(path: Path, *, strict: bool = False) -> None:
    """Remove a file, or a folder with all it holds; what is not there is no mistake.

    Args:
        strict: whether what cannot be removed is an error; else it is left as it is.

    Raises:
        RunError: with `strict`: the system refuses.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:  # another process was faster
        return
    except OSError as error:
        if strict:
            raise os_error(error, path, expected="a file or folder that can be removed") from error
        shutil.rmtree(path, ignore_errors=True)  # the rest of it


def clear_place(path: Path) -> None:
    """Remove what is no file where a file of the cache belongs: a folder, a pipe, a link that leads nowhere."""
    if os.path.lexists(path) and not path.is_file():
        remove(path)


def replace_file(path: Path, target: Path, *, kind: type[HeadstartError] = RunError) -> None:
    """Give a file another name, in place of what has it; an error of the given kind where it cannot be renamed."""
    with os_errors(target, expected="a file that can be renamed", kind=kind):
        path.replace(target)


def make_folder(
    path: Path,
    *,
    expected: str = "a folder that can be written",
    hint: str = FOR_OUT,
    kind: type[HeadstartError] = RunError,
) -> Path:
    """Make a folder with those above it, unless it is there; all of them or none.

    Raises:
        HeadstartError: of the given kind: it cannot be made.
    """
    with os_errors(path, expected=expected, hint=hint, kind=kind), all_or_none():
        will_make(path)
        path.mkdir(parents=True, exist_ok=True)
    return path


def copy_into(path: Path, folder: Path) -> Path:
    """Copy a file into a folder, which is made; a name that is taken there gets a number.

    Raises:
        RunError: it cannot be read or written.
    """
    make_folder(folder)
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem}-{number}{path.suffix}"
    with atomic_write(target) as part:
        shutil.copyfile(path, part)
    return target


def expanded(path: str | Path, *, kind: type[HeadstartError] = RunError) -> Path:
    """A path as the user wrote it, with ~ replaced by the home folder.

    Raises:
        HeadstartError: of the given kind: there is no such user, or nobody knows the home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise kind(expected="a path", found=str(error), where=printable(path), hint="Write it out in full.") from error


def flush(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk; where the system cannot, nothing is done."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str, *, expected: str = "a file that can be written", hint: str = "") -> None:
    """Write a text file in UTF-8, whole or not at all; names that are not valid Unicode are kept.

    Raises:
        RunError: it cannot be written there.
    """
    with atomic_write(path, expected=expected, hint=hint) as part:
        part.write_text(text, encoding="utf-8", errors="surrogatepass")


def write_json(path: Path, values: Any, *, hint: str = "") -> None:
    """Write strict JSON (no NaN), indented, whole or not at all.

    Raises:
        RunError: it cannot be written there. ValueError: a number is not finite.
    """
    write_text(path, json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False), hint=hint)


def disk_full(folder: Path, needed: int, error: Exception, *, hint: str) -> HeadstartError:
    """The error for a folder that cannot take `needed` bytes; another reason than a full disk is named as it is."""
    refused = refusal(error)
    if refused is None or refused.errno not in OF_A_FULL_DISK:
        own, refused = "" if refused else hint, refused or OSError(str(error))
        return os_error(refused, folder, expected="a folder that can be written to", hint=own)
    found = f"{runtime.free_bytes(folder) / 1e6:.1f} MB free ({error})"
    return RunError(expected=f"{needed / 1e6:.1f} MB that can be written", found=found, where=folder, hint=hint)


def printable(path: object) -> str:
    """A path as text that can be printed and sent; bytes that are not UTF-8 are escaped."""
    text = os.fsdecode(path) if isinstance(path, bytes) else str(path)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
