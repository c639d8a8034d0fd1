"""Errors: four parts, one sentence, near names."""

from __future__ import annotations

from headstart.errors import DataError, HeadstartError, near, shown


def test_an_error_tells_its_four_parts_in_one_sentence() -> None:
    error = DataError(expected="two classes", found="one ('cat')", where="photos", hint="Add a folder.")
    assert isinstance(error, HeadstartError)
    assert str(error) == "Expected two classes, found one ('cat') (photos). Add a folder."
    assert dict(error.lines()) == {
        "expected": "two classes",
        "found": "one ('cat')",
        "where": "photos",
        "next": "Add a folder.",
    }


def test_empty_parts_are_left_out() -> None:
    assert dict(DataError(expected="a", found="b").lines()) == {"expected": "a", "found": "b"}


def test_near_names_come_before_all_names() -> None:
    assert near("resnet81", ["resnet18", "alexnet"]) == "Did you mean resnet18?"
    assert near("zzz", ["resnet18", "alexnet"]) == "Known: resnet18, alexnet."


def test_control_characters_are_shown_escaped_and_letters_kept() -> None:
    assert shown("Käse\x1b[31m\u202e") == "Käse\\x1b[31m\\u202e"
    assert shown("94.8\u00a0%") == "94.8\u00a0%"
