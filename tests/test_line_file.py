"""Lines appear whole at the end of a file, or the file is as it was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headstart.errors import RunError
from headstart.files import hold
from headstart.line_file import append_line, one_at_a_time


def test_a_line_is_added_after_one_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, "one")
    path.write_bytes(path.read_bytes() + b"tw")

    append_line(path, "three")

    assert path.read_text().splitlines() == ["one", "tw", "three"]


def test_lines_of_processes_that_append_at_the_same_time_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    code = "import sys; from pathlib import Path; from headstart.line_file import append_line\n"
    code += "for i in range(40): append_line(Path(sys.argv[1]), sys.argv[2] * 200, is_whole=lambda line: False)"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), word]) for word in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = path.read_text().splitlines()
    assert sorted(lines) == ["a" * 200] * 40 + ["b" * 200] * 40


def test_an_unfinished_line_is_removed_unless_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"one\ntw")
    append_line(path, "three", is_whole=lambda line: False)
    assert path.read_bytes() == b"one\nthree\n"
    path.write_bytes(b"one\ntwo")
    append_line(path, "three", is_whole=lambda line: line == b"two")
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    with pytest.raises(RunError):
        append_line(tmp_path / "no" / "lines.txt", "x", is_whole=lambda line: False)


@pytest.mark.parametrize("cut_off", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_of_a_long_file_only_the_last_line_is_looked_at(cut_off: int, tmp_path: Path) -> None:
    path, lines = tmp_path / "lines.txt", b"one of many\n" * 20_000
    path.write_bytes(lines + b"x" * cut_off)
    seen = list[bytes]()

    append_line(path, "last", is_whole=lambda line: bool(seen.append(line)))

    assert set(seen) == {b"x" * cut_off}
    assert path.read_bytes() == lines + b"last\n"


@pytest.mark.parametrize("before", [b"", b"one\n"])
def test_a_line_that_a_full_disk_cuts_off_is_taken_back(
    before: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.txt"
    if before:
        path.write_bytes(before)
    real = os.fsync

    def refuse(handle: int) -> None:
        assert path.read_bytes() == before + b"two\n"  # it was written
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match="No space left"):
        append_line(path, "two")
    monkeypatch.setattr(os, "fsync", real)

    assert path.exists() == bool(before)
    assert not before or path.read_bytes() == before


def test_a_file_that_is_removed_while_we_wait_for_it_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    with path.open("ab") as held:
        hold(held.fileno())
        waiting = threading.Thread(target=append_line, args=(path, "two"))
        waiting.start()
        time.sleep(0.05)  # it has opened the file by now, or else opens the new one: right in both
        path.unlink()
    waiting.join()

    assert path.read_bytes() == b"two\n"


def test_a_block_is_entered_by_one_process_at_a_time(tmp_path: Path) -> None:
    with one_at_a_time(tmp_path / "lock"):
        handle = os.open(tmp_path / "lock", os.O_RDWR)
        is_taken = not hold(handle)
    is_free = hold(handle)
    os.close(handle)

    assert is_taken or os.name == "nt"
    assert is_free
