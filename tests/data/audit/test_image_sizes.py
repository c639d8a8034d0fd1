"""Images of unusual size."""

from __future__ import annotations

import pytest

from audited_images import images, ordinary
from headstart.data.audit.image_sizes import check_image_sizes
from headstart.data.finding import Finding
from headstart.data.image_index import ImageFacts


def found(width: int, height: int) -> list[Finding]:
    """Findings where one of forty images has this size; the others have 200 × 150 pixels."""
    facts = ordinary(40)
    facts[7] = ordinary(8, width=width, height=height)[7]
    return check_image_sizes(images(facts=facts))


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (31, 31, "shorter than 32 px"),
        (900, 200, "more than 4 times as long"),
        (2000, 1700, "eight times smaller or larger"),
    ],
)
def test_unusual_sizes_are_named(width: int, height: int, words: str) -> None:
    (finding,) = found(width, height)

    assert (finding.kind, finding.severity, finding.names) == ("unusual-size", "note", ("b/7.png",))
    assert words in finding.message


@pytest.mark.parametrize(("width", "height"), [(32, 32), (800, 200), (1200, 1199)])
def test_sizes_at_the_limits_are_not_unusual(width: int, height: int) -> None:
    assert found(width, height) == []


def test_unreadable_images_have_no_size() -> None:
    assert check_image_sizes(images(facts=[ImageFacts("", error="empty")] * 40)) == []
