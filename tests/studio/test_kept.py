"""Decisions that a label is right: they outlive the process, hold for one label, and can be taken back."""

from __future__ import annotations

from pathlib import Path

from headstart.studio.kept import Kept


def test_a_decision_holds_for_these_bytes_and_this_label(tmp_path: Path) -> None:
    Kept(tmp_path).decide("ab12", "big cat", is_right=True)

    kept = Kept(tmp_path)
    assert kept.has("ab12", "big cat")
    assert not kept.has("ab12", "dog")
    assert not kept.has("ab13", "big cat")
    kept.decide("ab12", "big cat", is_right=False)
    assert not Kept(tmp_path).has("ab12", "big cat")


def test_lines_that_are_cut_off_or_not_ours_are_questions_more(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.decide("a", "x", is_right=True)
    file = tmp_path / ".headstart" / "kept.jsonl"
    file.write_bytes(b'[]\n{"key": 3}\n' + file.read_bytes() + b'{"key": "b x", "ri')

    again = Kept(tmp_path)
    again.decide("c", "x", is_right=True)

    assert [name for name in "abc" if Kept(tmp_path).has(name, "x")] == ["a", "c"]
