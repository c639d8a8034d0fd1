"""The list of errors has each kind with its exit code, and each place that raises one with what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart
from docs_modules import load
from headstart import errors


@pytest.mark.slow
def test_every_kind_of_error_is_listed() -> None:
    page = load("error_list").errors_page()
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and name.endswith("Error")}

    assert all(f"## {kind}\n" in page for kind in kinds - {"HeadstartError"})
    assert all(f"| {code} |" in page for code in (0, 1, 2, 130, 143))


def test_texts_are_those_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        """
HINT = "Do that."
def check(name, few):
    if name: raise DataError(expected=f"a name, not {name}", found="x", hint=HINT)
    raise RecipeError(expected="one" if few else "many", found="x" + name)
    raise DataError(expected=name, found="x")  # known only then: not listed
    raise ValueError("not ours")
"""
    )
    found = [(one.kind, one.expected, one.hint) for one in load("error_list").raised_in(tmp_path)]

    assert found == [("DataError", "a name, not …", "Do that."), ("RecipeError", "one / many", "")]


@pytest.mark.slow
def test_most_places_are_listed() -> None:
    root = Path(headstart.__file__).parent
    calls = sum(path.read_text("utf-8").count("Error(\n") for path in root.rglob("*.py"))
    listed = len(list(load("error_list").raised_in(root)))

    assert listed > 0.7 * calls
