"""Files appear whole or not at all, and those filled through a memory map have their disk space before."""

from __future__ import annotations

import errno
import json
import linecache
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from headstart import files
from headstart.errors import RunError
from headstart.features.features_file import create_file
from headstart.features.row_file import RowFile
from headstart.files import (
    FolderLock,
    all_or_none,
    atomic_write,
    clear_place,
    expanded,
    make_folder,
    publish_folder,
    remove,
    remove_if_abandoned,
    will_make,
    work_folder,
    write_json,
    write_text,
)

needs_fallocate = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve space")
WIDTH = 40_000


def matrix_file(folder: Path) -> Path:
    create_file(folder / "features.safetensors", ("a", "b"), ("00" * 32, "11" * 32), slices={"last": (0, WIDTH)})
    return folder / "features.safetensors"


def row_file(folder: Path) -> Path:
    RowFile(folder, ["a", "b"], shapes=[(WIDTH,)], dtype="float32")
    return folder / "0.npy"


@needs_fallocate
@pytest.mark.parametrize("make", [matrix_file, row_file])
def test_every_byte_is_allocated_on_the_disk_before_it_is_filled(make: object, tmp_path: Path) -> None:
    status = make(tmp_path).stat()  # type: ignore[operator]

    assert status.st_size > 8 * WIDTH
    assert status.st_blocks * 512 >= status.st_size


@needs_fallocate
@pytest.mark.parametrize(("make", "option"), [(matrix_file, "--out"), (row_file, "HEADSTART_CACHE")])
def test_a_full_disk_is_a_clear_error_and_leaves_no_file(
    make: object, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, begin: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(RunError, match=rf"0.3 MB that can be written, found .* MB free \(.*No space left.*{option}"):
        make(tmp_path)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []  # nor do the tensors before


@needs_fallocate
@pytest.mark.parametrize("make", [matrix_file, row_file])
@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_reserve_is_used_without(
    make: object, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(handle: int, begin: int, length: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", cannot)

    assert make(tmp_path).stat().st_size > 8 * WIDTH  # type: ignore[operator]


def test_opening_rows_again_changes_none(tmp_path: Path) -> None:
    values = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)
    RowFile(tmp_path, ["a", "b"], shapes=[(WIDTH,)], dtype="float32").write([1], (values[1:],))

    again = RowFile(tmp_path, ["a", "b"], shapes=[(WIDTH,)], dtype="float32")

    assert again.missing == [0]
    np.testing.assert_array_equal(again.read(np.array([1]))[0], values[1:])


class BrokenError(Exception):
    """Something goes wrong while a file is written."""


def test_a_file_appears_when_the_block_succeeds(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.txt") as part:
        part.write_text("new")
        assert not (tmp_path / "a.txt").exists()
        assert part.parent == tmp_path  # a rename within one file system

    assert (tmp_path / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def write() -> None:
        with atomic_write(tmp_path / "a.txt") as part:
            part.write_text("half")
            raise BrokenError

    with pytest.raises(BrokenError):
        write()

    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="modes of files and links")
def test_a_link_is_followed_and_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "usual").touch()

    with atomic_write(tmp_path / "link") as part:
        part.write_text("new")
        part.chmod(0o600)

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_pipe_gets_the_bytes_and_stays_a_pipe_though_the_writer_replaces_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)  # waits for nobody
    try:
        with atomic_write(tmp_path / "pipe") as part:
            part.with_name("new").write_bytes(b"bytes")
            part.with_name("new").replace(part)
        assert os.read(reader, 100) == b"bytes"
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_device_that_is_full_is_said() -> None:
    with pytest.raises(RunError, match="No space left on device"), atomic_write(Path("/dev/full")) as part:
        part.write_bytes(b"bytes")
    assert Path("/dev/full").is_char_device()


def test_names_and_values_of_any_language_are_kept(tmp_path: Path) -> None:
    write_text(tmp_path / ("ä" * 100), "Ωmega \udce4")
    write_json(tmp_path / "values.json", {"größe": [1, 2.5, None]})

    assert (tmp_path / ("ä" * 100)).read_text("utf-8", "surrogatepass") == "Ωmega \udce4"
    assert json.loads((tmp_path / "values.json").read_text("utf-8")) == {"größe": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "other.json", {"a": float("nan")})
    assert not (tmp_path / "other.json").exists()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


LEAVE = """
import os, sys
from pathlib import Path
from types import FrameType
from headstart.files import atomic_write, work_folder
target = Path(sys.argv[1])
with work_folder(target) as work, atomic_write(target.with_name("table.csv")) as part:
    part.write_text("half")
    (work / "half").touch()
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes `run` and `table.csv` in the folder."""
    command = [sys.executable, "-c", LEAVE, str(tmp_path / "here" / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_what_a_killed_process_left_is_removed_by_the_next_one(other: subprocess.Popen[str], tmp_path: Path) -> None:
    here = tmp_path / "here"
    other.kill()
    other.wait()
    assert len(names(here)) == 2

    with work_folder(here / "run") as work:
        publish_folder(work, here / "run")
    with atomic_write(here / "table.csv") as part:
        part.write_text("whole")

    assert names(here) == ["run", "table.csv"]
    assert names(here / "run") == []
    assert (here / "table.csv").read_text() == "whole"


def test_what_a_living_process_writes_is_left_alone(other: subprocess.Popen[str], tmp_path: Path) -> None:
    here = tmp_path / "here"
    before = names(here)

    with work_folder(here / "run") as work, atomic_write(here / "table.csv") as part:
        assert set(before) < set(names(here))
        (work / "own").touch()
        part.write_text("own")
        publish_folder(work, here / "run")

    assert names(here) == sorted([*before, "run", "table.csv"])
    assert names(here / "run") == ["own"]


def test_a_folder_is_removed_when_nobody_holds_it(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    lock = FolderLock(folder)
    assert lock.acquire()
    assert not FolderLock(folder).acquire()
    assert not remove_if_abandoned(folder)
    assert folder.is_dir()
    lock.release()
    assert remove_if_abandoned(folder)
    assert not folder.exists()
    assert not remove_if_abandoned(tmp_path / "nowhere")


def test_a_folder_that_another_process_clears_is_made_again(tmp_path: Path) -> None:
    lock, cleared = FolderLock(tmp_path / "work"), FolderLock(tmp_path / "work")
    assert cleared.make()
    assert not lock.make()  # held by the other
    cleared.release()
    assert remove_if_abandoned(tmp_path / "work")
    assert lock.make()
    assert not remove_if_abandoned(tmp_path / "work")
    with pytest.raises(FileNotFoundError):
        FolderLock(tmp_path / "nowhere" / "work").make()


def _write_table(here: Path) -> None:
    with atomic_write(here / "table.csv") as part:
        part.write_text("whole")


def _make_run(here: Path) -> None:
    with work_folder(here / "run") as work:
        publish_folder(work, here / "run")


@pytest.mark.parametrize("write", [_write_table, _make_run])
def test_a_signal_at_any_line_leaves_nothing(write: Callable[[Path], None], tmp_path: Path) -> None:
    """As Ctrl-C or SIGTERM would: KeyboardInterrupt at the first, the second, … line of files.py that is run."""
    moment, stopped = 0, True
    while stopped:
        moment += 1
        left, here = moment, tmp_path / str(moment)
        here.mkdir()

        def trace(frame: FrameType, event: str, _: object, here: Path = here) -> object:
            nonlocal left
            if frame.f_code.co_filename != files.__file__ or "_clear(" in linecache.getline(
                files.__file__, frame.f_lineno
            ):
                return None  # a signal in the midst of cleaning up leaves what the next run removes
            left -= event == "line"
            if left == 0 and event == "line":
                left = -1_000_000
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            write(here)
            stopped = False
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        assert [name for name in names(here) if name.startswith(".")] == [], moment
    assert moment > 20
    assert names(here) in (["table.csv"], ["run"])


def test_on_a_disk_without_locks_nobody_waits_and_nothing_counts_as_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(self: object, **_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("filelock.FileLock.acquire", unsupported)

    assert FolderLock(tmp_path).acquire()
    assert not remove_if_abandoned(tmp_path)
    assert tmp_path.is_dir()


def test_parents_that_were_made_for_nothing_go_and_those_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for parent in ("there", "there/new", "a/b"):
        with pytest.raises(RunError), work_folder(tmp_path / parent / "run"):
            raise RunError(expected="images", found="none", where="photos")
    assert names(tmp_path) == ["there"]
    assert names(tmp_path / "there") == []
    with work_folder(tmp_path / "a" / "run"):
        (tmp_path / "a" / "of-others").touch()
    assert names(tmp_path / "a") == ["of-others"]


def test_a_run_gets_the_first_free_name_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    with work_folder(tmp_path / "runs" / "a") as work:
        (work / "file").touch()
        assert publish_folder(work, tmp_path / "runs" / "a") == tmp_path / "runs" / "a-2"
    with pytest.raises(ZeroDivisionError), work_folder(tmp_path / "runs" / "b"):
        raise ZeroDivisionError
    assert names(tmp_path / "runs") == ["a", "a-2"]


@pytest.mark.parametrize("name", ["n" * 256, "d/" * 2500 + "e"])
def test_a_name_that_no_disk_can_hold_is_refused_before_the_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="File name too long"), work_folder(tmp_path / name):
        pytest.fail("the work began")
    with pytest.raises(RunError, match="File name too long"), atomic_write(tmp_path / name) as part:
        part.touch()
    assert [one for one in names(tmp_path) if one.startswith(".")] == []


def test_a_home_that_nobody_has_is_refused() -> None:
    with pytest.raises(RunError, match="home directory") as refused:
        expanded("~nobody-of-this-name/a")
    assert refused.value.where == "~nobody-of-this-name/a"


def test_removing_says_what_it_cannot_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()

    def refused(path: Path, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refused)
    remove(tmp_path / "file")
    with pytest.raises(RunError, match="Read-only file system"):
        remove(tmp_path / "file", strict=True)
    remove(tmp_path / "nowhere" / "file")


def test_a_file_whose_name_does_not_reach_the_disk_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.flush

    def refuse(path: Path) -> None:
        real(path)
        if path == tmp_path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "flush", refuse)
    with pytest.raises(RunError, match="Input/output error"):
        write_text(tmp_path / "new.txt", "x")

    assert list(tmp_path.iterdir()) == []


def write_some(folder: Path, error: BaseException | None) -> None:
    with all_or_none():
        make_folder(folder / "a" / "b")
        with all_or_none():
            write_text(folder / "a" / "b" / "new.txt", "new")
        write_text(folder / "old.txt", "new")
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [RunError(expected="y", found="x"), KeyboardInterrupt(), OSError()])
def test_an_error_or_a_signal_takes_away_what_was_new(error: BaseException, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")

    with pytest.raises(type(error)):
        write_some(tmp_path, error)

    assert [path.name for path in tmp_path.rglob("*")] == ["old.txt"]  # it was replaced, not made


def test_without_an_error_all_stays(tmp_path: Path) -> None:
    write_some(tmp_path, None)

    assert (tmp_path / "a" / "b" / "new.txt").read_text() == "new"


def test_a_folder_into_which_others_wrote_stays(tmp_path: Path) -> None:
    def write() -> None:
        with all_or_none():
            make_folder(tmp_path / "mine")
            (tmp_path / "mine" / "yours.txt").write_text("yours")
            raise RunError(expected="y", found="x")

    with pytest.raises(RunError):
        write()

    assert (tmp_path / "mine" / "yours.txt").read_text() == "yours"


def test_outside_of_a_block_nothing_is_noted(tmp_path: Path) -> None:
    will_make(tmp_path / "a")
    (tmp_path / "a").write_text("a")

    with pytest.raises(RunError), all_or_none():
        raise RunError(expected="y", found="x")

    assert (tmp_path / "a").exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no such file system")
def test_a_file_system_that_makes_no_folders_is_refused_and_not_asked_for_ever() -> None:
    """Linux says of a new folder there that something is missing."""
    with pytest.raises(RunError), work_folder(Path("/proc/run")):
        pass


@pytest.mark.parametrize(
    ("number", "advised"),
    [
        *(
            (errno.EMFILE, "open files"),
            (errno.EFBIG, "ulimit -f"),
            (errno.ENOMEM, "memory"),
            (errno.ENOTEMPTY, "again"),
        ),
        *((errno.ENOTDIR, "another folder"), (errno.EACCES, "another folder")),
    ],
)
def test_a_limit_of_the_process_is_not_blamed_on_the_folder_or_its_space(number: int, advised: str) -> None:
    given = "" if number == errno.ENOTEMPTY else files.FOR_RUN
    error = files.os_error(OSError(number, os.strerror(number)), "out", hint=given)
    assert advised in str(error.hint)
    assert "space" not in str(error.hint)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_only_what_is_no_file_is_cleared_from_a_place_in_the_cache(tmp_path: Path) -> None:
    place = tmp_path / "card.json"
    clear_place(place)
    place.mkdir()
    (place / "x").write_text("x")
    clear_place(place)
    assert not place.exists()
    for make in (lambda: os.mkfifo(place), lambda: place.symlink_to("card.json"), lambda: place.symlink_to("nowhere")):
        make()
        clear_place(place)
        assert not os.path.lexists(place)
    place.write_text("kept")
    clear_place(place)
    assert place.read_text() == "kept"


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_to_itself_is_replaced_by_the_file(tmp_path: Path) -> None:
    loop = tmp_path / "loop.txt"
    loop.symlink_to("loop.txt")
    write_text(loop, "written")
    assert loop.read_text() == "written"
    assert list(tmp_path.iterdir()) == [loop]
