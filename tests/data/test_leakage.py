"""Groups that lie in more than one given part are told, with what to do about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headstart.data.finding import Finding
from headstart.data.image_set import Sample
from headstart.data.leakage import crossing_groups, leaked


def samples(*rows: tuple[str, str | None]) -> list[Sample]:
    return [Sample(Path(name), name, "a", part, None) for name, part in rows]


def told(parts: str, *groupings: str) -> tuple[Finding, ...]:
    """Findings of images with these parts (t, v, e: test) and groups, a letter each; `-`: none."""
    words = {"t": "train", "v": "validation", "e": "test", "-": None}
    rows = samples(*((f"{i}.png", words[part]) for i, part in enumerate(parts)))
    return crossing_groups(rows, [[None if group == "-" else group for group in grouping] for grouping in groupings])


def test_a_copy_leaks_into_every_part_but_training() -> None:
    parts = ["train", "validation", "test", "test", None, "train"]

    assert leaked([(0, 1, 2), (3, 4), (5, 0)], parts) == (1, 2)
    assert leaked([], parts) == ()


@pytest.mark.parametrize(
    ("parts", "grouping"), [("ttee", "aabb"), ("ttee", "a--b"), ("----", "aaaa"), ("tttt", "aaaa"), ("vvee", "aabb")]
)
def test_groups_within_one_part_are_no_finding(parts: str, grouping: str) -> None:
    assert told(parts, grouping) == ()


def test_groups_in_two_parts_are_counted_with_an_example_and_a_way_out() -> None:
    (finding,) = told("tteeevt", "abbbaa-")

    assert (finding.kind, finding.severity) == ("crossing-group", "problem")
    assert finding.groups == (("0.png", "4.png", "5.png"), ("1.png", "2.png", "3.png"))
    assert finding.detail == {"count": 2, "images": {"validation": 1, "test": 3}}
    assert finding.message == (
        "2 groups lie in more than one part, with 1 validation image and 3 test images, for example 'a' (0.png in "
        "train, 4.png in test): the score of a group that training or choosing has seen is too good. Put each group "
        "into one part, or give no parts: headstart then splits and keeps groups whole."
    )


def test_groups_that_were_guessed_from_names_alone_are_a_warning_with_a_way_out() -> None:
    guess, table = (
        [["a", "a"]],
        [Sample(Path(f"{i}.png"), f"{i}.png", "a", part, None) for i, part in enumerate(("train", "test"))],
    )
    (finding,) = crossing_groups(table, guess, guessed=True)
    assert finding.severity == "warning"
    assert "guessed from the files' names: if they are none, say --group-by none" in finding.message
    named = [replace(sample, group="one") for sample in table]
    (finding,) = crossing_groups(named, [["one", "one"], *guess], guessed=True)
    assert finding.severity == "problem"


def test_groupings_that_share_an_image_make_one_group() -> None:
    (finding,) = told("tte", "aa-", "-bb")

    assert finding.groups == (("0.png", "1.png", "2.png"),)
    assert "1 group lies in more than one part, with 1 test image, for example 'a'" in finding.message
