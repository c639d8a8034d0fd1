"""Groups in more than one of the user's splits are reported, with what to do about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headstart.data.audit.check import AuditInput
from headstart.data.audit.groups_across_splits import check_groups_across_splits
from headstart.data.finding import Finding
from headstart.data.image_index import ImageFacts
from headstart.data.image_set import Sample


def images(splits: str, *groupings: str) -> AuditInput:
    """Images with these splits (t, v, e: test) and groups, a letter each; `-`: none."""
    words = {"t": "train", "v": "validation", "e": "test", "-": None}
    return AuditInput(
        samples=tuple(Sample(Path(f"{i}.png"), f"{i}.png", "a", words[split]) for i, split in enumerate(splits)),
        facts=tuple(ImageFacts(str(i), str(i)) for i in range(len(splits))),
        classes=("a",),
        groupings=tuple(tuple(None if group == "-" else group for group in grouping) for grouping in groupings),
    )


def found(splits: str, *groupings: str) -> list[Finding]:
    return check_groups_across_splits(images(splits, *groupings))


@pytest.mark.parametrize(
    ("splits", "grouping"), [("ttee", "aabb"), ("ttee", "a--b"), ("----", "aaaa"), ("tttt", "aaaa"), ("vvee", "aabb")]
)
def test_groups_within_one_split_are_not_a_finding(splits: str, grouping: str) -> None:
    assert found(splits, grouping) == []


def test_groups_in_two_splits_are_counted_with_an_example_and_a_way_out() -> None:
    (finding,) = found("tteeevt", "abbbaa-")

    assert (finding.kind, finding.severity) == ("group-across-splits", "problem")
    assert finding.groups == (("0.png", "4.png", "5.png"), ("1.png", "2.png", "3.png"))
    assert finding.detail == {"count": 2, "images": {"validation": 1, "test": 3}}
    assert finding.message == (
        "2 groups are in more than one split, with 1 validation image and 3 test images, for example 'a' (0.png in "
        "train, 4.png in test): results on groups that the training split contains are too optimistic. Put each group "
        "into one split, or use no splits: headstart then makes a split and keeps groups whole."
    )


def test_groups_that_were_guessed_from_names_alone_are_a_warning_with_a_way_out() -> None:
    guessed = replace(images("te", "aa"), groups_are_guessed=True)
    (finding,) = check_groups_across_splits(guessed)
    assert finding.severity == "warning"
    assert "guessed from the file names: if they are not groups, use --group-by none" in finding.message

    samples = tuple(replace(sample, group="one") for sample in guessed.samples)
    named = replace(guessed, samples=samples, groupings=(("one", "one"), ("a", "a")))
    (finding,) = check_groups_across_splits(named)
    assert finding.severity == "problem"


def test_groupings_that_share_an_image_make_one_group() -> None:
    (finding,) = found("tte", "aa-", "-bb")

    assert finding.groups == (("0.png", "1.png", "2.png"),)
    assert "1 group is in more than one split, with 1 test image, for example 'a'" in finding.message


def test_an_unreadable_image_is_in_no_split_of_a_group() -> None:
    given = images("tte", "aaa")
    facts = (*given.facts[:2], ImageFacts("2", error="truncated"))

    assert check_groups_across_splits(replace(given, facts=facts)) == []
