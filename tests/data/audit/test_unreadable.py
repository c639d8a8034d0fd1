"""Images that cannot be decoded are named with their reasons."""

from __future__ import annotations

from audited_images import balanced, images, ordinary
from headstart.data.audit.unreadable import check_unreadable
from headstart.data.image_index import ImageFacts


def test_unreadable_images_are_a_problem_with_their_reasons() -> None:
    facts = ordinary(6)
    facts[1], facts[4] = ImageFacts("c1", error="truncated"), ImageFacts("", error="empty")

    (finding,) = check_unreadable(images(balanced(6), facts))

    assert (finding.kind, finding.severity, finding.names) == ("unreadable", "problem", ("b/1.png", "a/4.png"))
    assert finding.detail == {"count": 2, "reasons": {"b/1.png": "truncated", "a/4.png": "empty"}}
    assert finding.message == "2 images cannot be read and are left out."


def test_readable_images_are_not_a_finding() -> None:
    assert check_unreadable(images()) == []
