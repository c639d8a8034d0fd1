"""Errors: four parts, one sentence, near names."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from headstart import errors
from headstart.data.images import BadImage
from headstart.errors import (
    DataError,
    HeadstartError,
    PackageError,
    first_line,
    kind_and_line,
    missing_package,
    near,
    shown,
)
from headstart.recipe_file import tomllib


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


@pytest.mark.parametrize(
    ("text", "line"), [("one\ntwo", "one"), ("\n\n  one\n", "one"), ("", "KeyError"), (" \n", "KeyError")]
)
def test_the_first_line_of_a_silent_error_is_its_kind(text: str, line: str) -> None:
    class KeyError(Exception):  # the real one quotes its text
        """An error of another package."""

    assert first_line(KeyError(text)) == line


def test_an_error_in_a_line_names_its_kind_once_and_is_bounded() -> None:
    assert kind_and_line(ValueError("\nno shape\nand more")) == "ValueError: no shape"
    assert kind_and_line(ValueError()) == "ValueError"
    assert kind_and_line(ValueError("x" * 1000)) == f"ValueError: {'x' * 288}"


def test_control_characters_are_shown_escaped_and_letters_kept() -> None:
    assert shown("Käse\x1b[31m\u202e") == "Käse\\x1b[31m\\u202e"
    assert shown("94.8\u00a0%") == "94.8\u00a0%"


@pytest.mark.parametrize(
    "error", [DataError(expected="a", found="b", where="c", hint="d"), BadImage("it is empty"), PackageError("torch")]
)
def test_an_error_crosses_processes_as_it_is(error: HeadstartError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.lines(), copy.args) == (str(error), error.lines(), error.args)


def test_a_missing_package_of_torch_says_what_installs_it_and_others_are_left_alone() -> None:
    found = missing_package(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))

    assert isinstance(found, PackageError)
    assert isinstance(found, ImportError)
    assert str(found) == 'headstart needs torch for this: pip install "headstart[standard]"'
    assert missing_package(ModuleNotFoundError("No module named 'x'", name="x")) is None
    assert missing_package(ModuleNotFoundError("no name")) is None
    assert missing_package(ValueError("torch")) is None


def test_the_packages_of_torch_are_those_of_its_extra() -> None:
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    extra = declared["project"]["optional-dependencies"]["torch"]
    assert [requirement.partition(">=")[0] for requirement in extra] == list(errors._WITH_TORCH)
