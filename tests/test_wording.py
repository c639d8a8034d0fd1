"""Numbers, names and durations as people read them."""

from __future__ import annotations

import pytest

from headstart.wording import NBSP, counted, duration, listed, numbered, percent, spelled_number, with_sign


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((1, "image"), "1 image"),
        ((0, "image"), "0 images"),
        ((1200, "image"), "1,200 images"),
        ((2, "class"), "2 classes"),
        ((3, "child", "children"), "3 children"),
    ],
)
def test_a_number_of_things_has_its_noun(arguments: tuple[int, str], text: str) -> None:
    assert counted(*arguments) == text


def test_of_many_names_the_first_are_listed_and_the_rest_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed("abcde", most=2) == "a, b and 3 more"
    assert numbered([3, 17]) == "#3, #17"


def test_names_are_made_safe_to_print() -> None:
    assert listed(["a\x1b[31mb", "ä"]) == "a\\x1b[31mb, ä"


@pytest.mark.parametrize(
    ("share", "text"), [(0.954, f"95.4{NBSP}%"), (1.0, f"100.0{NBSP}%"), (None, "–"), (float("nan"), "–")]
)
def test_a_share_is_a_percentage_with_a_no_break_space(share: float | None, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_a_duration_has_the_units_of_its_size(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.184, "+0.18"), (-0.2, "-0.20"), (-0.004, "+0.00"), (0.0, "+0.00"), (-0.0, "+0.00")]
)
def test_what_rounds_to_zero_has_no_minus(value: float, text: str) -> None:
    assert with_sign(value, 2) == text


@pytest.mark.parametrize(
    ("label", "number"),
    [("1,000", 1000.0), ("1 000", 1000.0), ("01", 1.0), (" 1.50 ", 1.5), ("1e3", 1000.0), ("1,00", None), ("cat", None),
     ("nan", None), ("inf", None), ("1,000,0", None), ("", None)],
)  # fmt: skip
def test_a_number_is_known_in_its_spellings(label: str, number: float | None) -> None:
    assert spelled_number(label) == number
