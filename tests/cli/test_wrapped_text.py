"""Long names are broken where a reader would break them, and nothing is wider than the terminal."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding

from headstart.cli.wrapped_text import WrappedText, breaks, longest_piece


def _lines(text: str, width: int, **options: object) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(Padding(WrappedText(text), 0), **options)  # type: ignore[arg-type]
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("photos/birds/wren.jpg", ["photos/", "birds/", "wren.jpg"]),
        ("Scentless_Mayweed", ["Scentless_", "Mayweed"]),
        ("up to 88.4\u00a0% so", ["up to", "88.4\u00a0% so"]),
        ("about 100 % too", ["about", "100 % too"]),
        ("leave-one-out score", ["leave-one-", "out score"]),
        ("by -12345.6 points", ["by", "-12345.6", "points"]),
        ("a --long-name", ["a --long-", "name"]),
        ("supercalifragilistic", ["supercalif", "ragilistic"]),
        ("", [""]),
        ("a\n\nb", ["a", "", "b"]),
    ],
)
def test_words_are_kept_and_long_ones_broken_behind_their_marks(text: str, lines: list[str]) -> None:
    assert _lines(text, 10) == lines


def test_wide_characters_count_two_columns() -> None:
    lines = _lines("犬と猫の写真", 6)

    assert lines == ["犬と猫", "の写真"]
    assert all(cell_len(line) <= 6 for line in lines)


@pytest.mark.parametrize("width", [1, 2, 7, 23])
def test_no_line_is_wider_and_no_character_is_lost(width: int) -> None:
    text = "runs/a_very-long/path with spaces/IMG_2024-01-02 (copy).jpg; and 1.5 % of 3/4 a\u00e9\u4e2d"

    lines = _lines(text, max(width, 2))

    assert all(cell_len(line) <= max(width, 2) for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_what_is_not_to_be_wrapped_is_one_line() -> None:
    out, text = io.StringIO(), "headstart predict runs/photos NEW_IMAGES"

    Console(file=out, width=10, highlight=False).print(WrappedText(text), soft_wrap=True)

    assert out.getvalue() == f"{text}\n"


def test_the_longest_piece_is_what_a_column_needs() -> None:
    assert longest_piece("Scentless_Mayweed") == len("Scentless_")
    assert longest_piece("") == 0
    assert breaks("ab cd", 5) == []
