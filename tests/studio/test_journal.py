"""The journal: changes are written before they are made, completed after a kill, and undone in turn."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from headstart.errors import DataError
from headstart.studio.journal import Journal


def tree(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("journal.jsonl", "lock"))
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def laid(folder: Path) -> Path:
    for name in ("a/1", "a/2", "b/3"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_change_is_done_and_undone_also_by_another_process(tmp_path: Path) -> None:
    before = tree(laid(tmp_path))
    Journal(tmp_path).record("moved", [("a/1", "b/1")], [("b/1", "a/1")])
    assert set(tree(tmp_path)) == {"b/1", "a/2", "b/3"}

    undone = Journal(tmp_path).undo()

    assert undone is not None
    assert tree(tmp_path) == before
    assert Journal(tmp_path).undo() is None


def test_a_batch_is_undone_at_once_and_the_one_before_it_next(tmp_path: Path) -> None:
    before = tree(laid(tmp_path))
    journal = Journal(tmp_path)
    journal.record("one", [("a/1", "c/1")], [("c/1", "a/1")])
    journal.record("two", [("a/2", "c/2")], [("c/2", "a/2")], batch="x")
    journal.record("three", [("b/3", "c/3")], [("c/3", "b/3")], batch="x")

    journal.undo()
    assert set(tree(tmp_path)) == {"c/1", "a/2", "b/3"}
    journal.undo()
    assert tree(tmp_path) == before
    assert journal.undo() is None


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_change_that_was_killed_is_completed_when_the_folder_is_opened(tmp_path: Path, done: int) -> None:
    laid(tmp_path)
    moves = [("a/1", "c/1"), ("a/2", "c/2")]
    Journal(tmp_path).record("both", moves, [])
    for old, new in moves[done:]:  # as if the process had ended after `done` of the moves
        (tmp_path / new).rename(tmp_path / old)

    Journal(tmp_path)

    assert set(tree(tmp_path)) == {"c/1", "c/2", "b/3"}


def test_a_line_that_was_cut_off_is_a_change_that_never_began(tmp_path: Path) -> None:
    journal = Journal(laid(tmp_path))
    journal.record("one", [("a/1", "c/1")], [("c/1", "a/1")])
    file = tmp_path / ".headstart" / "journal.jsonl"
    file.write_bytes(file.read_bytes() + b'{"number": 2, "mov')

    again = Journal(tmp_path)
    again.record("two", [("a/2", "c/2")], [("c/2", "a/2")])

    assert [change.text for change in Journal(tmp_path).changes] == ["one", "two"]


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../out"])
def test_a_journal_from_elsewhere_moves_nothing_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = laid(tmp_path / "outer" / "in")
    (folder / ".headstart").mkdir()
    line = {"number": 1, "text": "", "moves": [["a/1", name]], "back": [], "batch": "", "undoes": []}
    (folder / ".headstart" / "journal.jsonl").write_text(json.dumps(line) + "\n")

    with pytest.raises(DataError, match="inside the folder"):
        Journal(folder)
    assert (folder / "a" / "1").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["in"]


def test_what_is_behind_a_link_is_not_moved(tmp_path: Path) -> None:
    folder, outside = laid(tmp_path / "in"), tmp_path / "outside"
    outside.mkdir()
    (folder / "link").symlink_to(outside)

    with pytest.raises(DataError, match="leads out"):
        Journal(folder).record("moved", [("a/1", "link/1")], [])
    assert not list(outside.iterdir())


@pytest.mark.parametrize("line", ["[]", '{"moves": 3}', '{"text": "", "moves": [["a"]], "back": []}'])
def test_another_file_of_that_name_is_refused_in_words(tmp_path: Path, line: str) -> None:
    (tmp_path / ".headstart").mkdir()
    (tmp_path / ".headstart" / "journal.jsonl").write_text(line + "\n")

    with pytest.raises(DataError, match=r"found line 1, which is no change \("):
        Journal(tmp_path)


def test_a_journal_that_lost_a_line_is_refused(tmp_path: Path) -> None:
    journal = Journal(laid(tmp_path))
    for name in ("1", "2"):
        journal.record(f"moved {name}", [(f"a/{name}", f"c/{name}")], [(f"c/{name}", f"a/{name}")])
    file = tmp_path / ".headstart" / "journal.jsonl"
    first, second = file.read_text().splitlines()
    file.write_text(f"{first[:-5]}\n{second}\n")  # what undoes number 2 would undo another change

    with pytest.raises(DataError, match="change 2 where 1 comes next"):
        Journal(tmp_path)
    assert set(tree(tmp_path)) == {"c/1", "c/2", "b/3"}


def test_a_name_that_is_too_long_is_refused_in_words(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    (folder / ".headstart").mkdir()
    line = {"number": 1, "text": "", "moves": [["a" * 5000, "b"]], "back": [], "batch": "", "undoes": []}
    (folder / ".headstart" / "journal.jsonl").write_text(json.dumps(line) + "\n")

    with pytest.raises(DataError, match="too long"):
        Journal(folder)


def test_what_is_gone_cannot_come_back_and_undo_says_so(tmp_path: Path) -> None:
    journal = Journal(laid(tmp_path))
    journal.record("deleted", [("a/1", journal.trash("a/1")), ("a/2", journal.trash("a/2"))],
                   [(journal.trash("a/2"), "a/2"), (journal.trash("a/1"), "a/1")])  # fmt: skip
    (tmp_path / ".headstart/trash/1/a/1").unlink()

    undone = journal.undo()

    assert undone is not None
    assert undone.text == "Undone: deleted (gone for good: 1 of 2 files or folders)"
    assert set(tree(tmp_path)) == {"a/2", "b/3"}


def test_what_an_earlier_move_brings_is_not_gone(tmp_path: Path) -> None:
    journal = Journal(laid(tmp_path))
    back = [("a", "c"), ("c/1", "b/1"), ("b/1", "b/9")]
    journal.record("nothing", [], back)

    undone = journal.undo()

    assert undone is not None
    assert undone.text == "Undone: nothing"
    assert set(tree(tmp_path)) == {"c/2", "b/3", "b/9"}


def test_two_studios_on_one_folder_share_a_journal(tmp_path: Path) -> None:
    before = tree(laid(tmp_path))
    one, other = Journal(tmp_path), Journal(tmp_path)

    one.record("first", [("a/1", "c/1")], [("c/1", "a/1")])
    other.record("second", [("a/2", one.trash("a/2"))], [(one.trash("a/2"), "a/2")])
    one.record("third", [("b/3", "c/3")], [("c/3", "b/3")])
    other.refresh()

    assert [change.text for change in other.undoable] == ["third"]
    assert [change.number for change in Journal(tmp_path).changes] == [1, 2, 3]
    undone = [journal.undo() for journal in (other, one, other)]
    assert [change and change.text for change in undone] == ["Undone: third", "Undone: second", "Undone: first"]
    assert one.undo() is None
    assert tree(tmp_path) == before


def test_a_line_that_another_studio_is_writing_is_read_when_it_is_whole(tmp_path: Path) -> None:
    one, other = Journal(laid(tmp_path)), Journal(tmp_path)
    one.record("first", [("a/1", "c/1")], [("c/1", "a/1")])
    path = tmp_path / ".headstart" / "journal.jsonl"
    written = path.read_bytes()

    for size in (10, len(written) - 1, len(written)):
        path.write_bytes(written[:size])
        other.refresh()

    assert [change.text for change in other.undoable] == ["first"]


@pytest.mark.skipif(os.name == "nt", reason="nobody waits there")
def test_a_change_waits_for_that_of_another_studio(tmp_path: Path) -> None:
    one, other = Journal(laid(tmp_path)), Journal(tmp_path)

    with one.alone():
        waiting = threading.Thread(target=other.record, args=("second", [("a/2", "c/2")], []))
        waiting.start()
        one.record("first", [("a/1", "c/1")], [])
        assert waiting.is_alive()
    waiting.join()

    assert [change.text for change in Journal(tmp_path).changes] == ["first", "second"]


def test_a_journal_that_was_moved_away_begins_again(tmp_path: Path) -> None:
    journal = Journal(laid(tmp_path))
    for name in ("a/1", "a/2"):
        journal.record(f"deleted {name}", [(name, journal.trash(name))], [(journal.trash(name), name)])
    (tmp_path / ".headstart" / "journal.jsonl").rename(tmp_path / "old.jsonl")
    (tmp_path / "a" / "1").write_text("another of that name")

    with journal.alone():
        place = journal.trash("a/1")
        journal.record("deleted another", [("a/1", place)], [(place, "a/1")])

    assert not (tmp_path / "a" / "1").exists()
    assert (tmp_path / place).read_text() == "another of that name"
    assert (tmp_path / ".headstart" / "trash" / "1" / "a" / "1").read_text() == "a/1"
    assert [change.text for change in Journal(tmp_path).changes] == ["deleted another"]


def test_what_stands_in_the_way_of_undo_is_named(tmp_path: Path) -> None:
    journal = Journal(laid(tmp_path))
    journal.record("renamed", [("a", "z")], [("z", "a")])
    (tmp_path / "a").mkdir()

    with pytest.raises(DataError, match="something else, which was put there since"):
        journal.undo()
    (tmp_path / "a").rmdir()

    assert journal.undo() is not None
    assert (tmp_path / "a" / "1").read_text() == "a/1"


def test_what_an_earlier_move_takes_away_is_not_in_the_way(tmp_path: Path) -> None:
    journal = Journal(laid(tmp_path))
    journal.record("swapped", [("a", "t"), ("b", "a"), ("t", "b")], [("b", "t"), ("a", "b"), ("t", "a")])

    assert journal.undo() is not None
    assert (tmp_path / "a" / "1").read_text() == "a/1"
