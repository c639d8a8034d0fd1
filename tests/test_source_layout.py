"""How a table or folders are to be read: only values that mean something."""

from __future__ import annotations

import pytest

from headstart.errors import RecipeError
from headstart.recipe import Recipe
from headstart.source_layout import SourceLayout


@pytest.mark.parametrize(
    ("named", "character"),
    [(None, None), ("comma", ","), ("semicolon", ";"), ("tab", "\t"), (r"\t", "\t"), ("pipe", "|"), ("#", "#")],
)
def test_a_delimiter_is_a_word_or_a_character(named: str | None, character: str | None) -> None:
    assert Recipe(delimiter=named).layout.character == character


@pytest.mark.parametrize("named", ["", "comma,", "tabs", '"', "\n", "ab"])
def test_other_delimiters_are_refused(named: str) -> None:
    with pytest.raises(RecipeError, match="--delimiter"):
        Recipe(delimiter=named)


@pytest.mark.parametrize(
    ("named", "count", "level"),
    [("auto", 3, 0), ("first", 3, 0), ("last", 3, 2), ("last", 1, 0), ("1", 3, 0), ("2", 3, 1), ("3", 2, 2)],
)
def test_a_level_is_counted_from_the_outermost_folder(named: str, count: int, level: int) -> None:
    assert SourceLayout(label_from=named).level(count) == level


@pytest.mark.parametrize("named", ["0", "-1", "second", "", "1.5", "²", "9999"])
def test_other_levels_are_refused(named: str) -> None:
    with pytest.raises(RecipeError, match="--label-from"):
        Recipe(label_from=named)
