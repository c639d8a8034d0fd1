"""The file of decisions: what holds, undo, unfinished lines at every byte, a hundred kills, damage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.curation.decisions import FILE, Decision, DecisionFile, find_decisions
from headstart.errors import RunError


def decided(number: int, action: str = "drop", new: str = "") -> Decision:
    return Decision(sha256=f"{number:064x}", image=f"ants/{number} ü.jpg", action=action, old="ants", new=new)


def test_what_is_appended_is_read_and_the_last_decision_about_an_image_wins(tmp_path: Path) -> None:
    file = DecisionFile(tmp_path / FILE)
    assert len(file.read()) == 0
    assert file.read().fingerprint == ""
    for one in (decided(1), decided(2, "relabel", "bees"), decided(1, "keep")):
        file.append(one)
    found = file.read()
    assert [one.action for one in found.standing] == ["drop", "relabel", "keep"]
    assert len(found) == 2
    assert found.by_content[f"{1:064x}"].label == "ants"
    assert found.by_content[f"{2:064x}"].label == "bees"
    assert found.standing[0].when.endswith("+00:00")
    assert str(found.standing[1]) == "ants/2 ü.jpg: ants → bees"


def test_undo_takes_back_the_last_and_brings_back_the_one_before_it(tmp_path: Path) -> None:
    file = DecisionFile(tmp_path / FILE)
    assert file.undo() is None
    file.append(decided(1))
    alone = file.read().fingerprint
    file.append(decided(1, "keep"))
    taken = file.undo()
    assert taken is not None
    assert taken.action == "keep"
    assert file.read().by_content[f"{1:064x}"].label is None
    assert file.read().fingerprint == alone
    file.undo()
    assert file.read().standing == ()
    assert len(file.path.read_text("utf-8").splitlines()) == 4  # nothing is ever taken out of the file


def test_cut_at_every_byte_no_finished_decision_is_lost_and_the_next_one_repairs_it(tmp_path: Path) -> None:
    whole = DecisionFile(tmp_path / FILE)
    for number in range(2):
        whole.append(decided(number))
    data = whole.path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    cut = DecisionFile(tmp_path / "cut.jsonl")
    for length in range(len(data) + 1):
        cut.path.write_bytes(data[:length])
        found = cut.read()
        finished = sum(length >= end - 1 for end in ends)  # without its line break a line is complete, too
        assert len(found) == finished, length
        is_torn = finished == sum(length >= end for end in ends) and length not in (0, *ends)
        assert bool(found.torn) == is_torn, length
        assert ("not saved" in found.warning) == is_torn
        cut.append(decided(9))
        again = cut.read()
        assert [one.sha256 for one in again.standing] == [f"{i:064x}" for i in (*range(finished), 9)], length
        assert again.torn == 0


_KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from headstart import line_file
from headstart.curation.decisions import Decision, DecisionFile

path, rng, opened = Path(sys.argv[1]), random.Random(0), line_file._opened_to_append

class Killed:  # a file that takes a few bytes at a time, and kills its process before the n-th call
    def __init__(self, file): self.file = file
    def __getattr__(self, name): return getattr(self.file, name)
    def call(self):
        global calls
        calls -= 1
        if not calls: os.kill(os.getpid(), signal.SIGKILL)
    def write(self, data): self.call(); return self.file.write(data[:100])
    def truncate(self, size): self.call(); return self.file.truncate(size)
    def fileno(self): self.call(); return self.file.fileno()  # asked for by fsync

@line_file.contextlib.contextmanager
def killing(path):
    with opened(path) as file: yield Killed(file)

line_file._opened_to_append = killing
for kill in range(100):
    calls = kill // 2 + 1 if kill % 2 else 10**9  # at a call, or after a random time
    first = len(DecisionFile(path).read().standing)
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        for number in range(first, 10**9):
            DecisionFile(path).append(Decision(sha256=f"{number:064x}", image="x", action="drop", old="a"))
            os.write(writes, b"%d " % number)
    os.close(writes)
    if kill % 2 == 0:
        time.sleep(rng.uniform(0, 0.004))
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reads, "rb") as acknowledged:
        said = len(acknowledged.read().split(b" ")) - 1
    (path.parent / f"{kill}-{first}-{said}").write_bytes(path.read_bytes() if path.exists() else b"")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_hundred_kills_lose_no_acknowledged_decision_and_double_none(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLS, str(tmp_path / FILE)], check=True)
    torn = added = 0
    kills = [path for path in tmp_path.iterdir() if path.name != FILE]
    assert len(kills) == 100
    for path in kills:
        _, first, said = map(int, path.name.split("-"))
        found = DecisionFile(path).read()
        # a decision may be on the disk before that is said, and only the one that was being made
        assert len(found.standing) in (first + said, first + said + 1), path.name
        assert [one.sha256 for one in found.standing] == [f"{i:064x}" for i in range(len(found.standing))]
        torn, added = torn + bool(found.torn), added + said
    assert torn > 10  # kills did hit lines half written
    assert added > 100


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b'{"sha256": 3}',
        b"\xff\xfe",
        json.dumps({"sha256": "", "image": "", "action": "burn", "old": "", "new": "", "when": ""}).encode(),
        json.dumps({"sha256": "", "image": "", "action": "relabel", "old": "", "new": "", "when": ""}).encode(),
    ],
)
def test_a_damaged_line_in_the_middle_is_an_error_with_its_number(tmp_path: Path, line: bytes) -> None:
    file = DecisionFile(tmp_path / FILE)
    file.append(decided(1))
    file.path.write_bytes(file.path.read_bytes() + line + b"\n" + file.path.read_bytes())
    with pytest.raises(RunError, match="line 2"):
        file.read()


def test_the_folder_of_a_run_stands_for_the_file_in_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="headstart review"):
        find_decisions(tmp_path)
    (tmp_path / FILE).touch()
    assert find_decisions(tmp_path).path == find_decisions(str(tmp_path / FILE)).path == tmp_path / FILE


def test_what_an_editor_leaves_is_read_and_what_it_made_of_whole_lines_is_never_removed(tmp_path: Path) -> None:
    file = DecisionFile(tmp_path / FILE)
    for number in range(2):
        file.append(decided(number))
    first, second = file.path.read_bytes().splitlines()
    for data in (b"\xef\xbb\xbf" + first + b"\r\n\r\n" + second, first + b"\n  \n\n" + second + b"\n\n"):
        file.path.write_bytes(data)
        assert [one.sha256 for one in file.read().standing] == [f"{i:064x}" for i in range(2)]
        assert file.read().torn == 0
    file.path.write_bytes(first + b"\n" + second[:40] + bytes(300))  # as a file system leaves what was not written
    assert file.read().torn == 340
    for data in (first + b"\r" + second + b"\r", b"[" + first + b"," + second + b"]", b"# mine"):
        file.path.write_bytes(data)
        with pytest.raises(RunError, match="line 1"):
            file.read()
        file.append(decided(5))
        assert file.path.read_bytes().startswith(data + b"\n")
