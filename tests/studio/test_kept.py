"""Decisions that a label is right: they outlive the process, hold for one label, and can be taken back."""

from __future__ import annotations

from pathlib import Path

from headstart.studio.kept import Kept


def test_a_decision_holds_for_these_bytes_and_this_label(tmp_path: Path) -> None:
    undone: set[int] = set()

    def opened() -> Kept:
        return Kept(tmp_path, lambda number: number not in undone)

    opened().decide("ab12", "big cat", change=7)

    kept = opened()
    assert kept.has("ab12", "big cat")
    assert not kept.has("ab12", "dog")
    assert not kept.has("ab13", "big cat")
    undone.add(7)
    assert not kept.has("ab12", "big cat")
    assert not opened().has("ab12", "big cat")
    kept.decide("ab12", "big cat", change=9)
    assert opened().has("ab12", "big cat")


def test_lines_that_are_cut_off_or_not_ours_are_questions_more(tmp_path: Path) -> None:
    kept = Kept(tmp_path, lambda _: True)
    kept.decide("a", "x", change=1)
    file = tmp_path / ".headstart" / "kept.jsonl"
    file.write_bytes(b'[]\n{"key": 3}\n' + file.read_bytes() + b'{"key": "b x", "ri')

    again = Kept(tmp_path, lambda _: True)
    again.decide("c", "x", change=2)

    assert [name for name in "abc" if Kept(tmp_path, lambda _: True).has(name, "x")] == ["a", "c"]


def test_decisions_of_earlier_versions_hold(tmp_path: Path) -> None:
    (tmp_path / ".headstart").mkdir()
    lines = ['{"key": "a x", "right": true}', '{"key": "b x", "right": true}', '{"key": "b x", "right": false}']
    (tmp_path / ".headstart" / "kept.jsonl").write_text("\n".join(lines))
    assert [name for name in "ab" if Kept(tmp_path, lambda _: False).has(name, "x")] == ["a"]
