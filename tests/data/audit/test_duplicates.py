"""Exact, near and oversized groups of duplicates."""

from __future__ import annotations

import pytest

from audited_images import balanced, by_kind, images, ordinary
from headstart.data.audit.duplicates import check_duplicates


def test_exact_duplicates_count_once_as_exact_and_not_as_near() -> None:
    facts = ordinary(40)
    facts[1] = facts[0]

    (finding,) = check_duplicates(images(facts=facts, duplicates=[(0, 1)]))

    assert (finding.kind, finding.severity) == ("duplicate", "warning")
    assert finding.message.startswith("1 image is an exact duplicate")


def test_a_near_duplicate_beside_exact_ones_is_reported_as_both() -> None:
    facts = ordinary(60)
    facts[2] = facts[0]

    kinds = by_kind(check_duplicates(images(balanced(60), facts, duplicates=[(0, 2, 4)])))

    assert kinds["duplicate"].groups == (("a/0.png", "a/2.png"),)
    assert kinds["near-duplicate"].groups == (("a/0.png", "a/2.png", "a/4.png"),)


@pytest.mark.parametrize(
    ("count", "size", "is_oversized"),
    [(38, 3, False), (100, 20, False), (100, 21, True), (500, 25, False), (500, 26, True)],
)
def test_a_group_above_twenty_images_and_five_percent_is_oversized(count: int, size: int, is_oversized: bool) -> None:
    group = tuple(range(0, 2 * size, 2))
    given = images(balanced(count), duplicates=[(1, 3), group])

    kinds = by_kind(check_duplicates(given))

    assert given.oversized_groups == ((group,) if is_oversized else ())
    assert ("oversized-group" in kinds) is is_oversized
    assert kinds["near-duplicate"].detail["count"] == (1 if is_oversized else 2)  # "stays on one side of the split"
