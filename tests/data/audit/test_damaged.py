"""Damaged images that are used because the user asked for it are a problem with a reason each."""

from __future__ import annotations

import dataclasses

from audited_images import images, ordinary
from headstart.data.audit.damaged import check_damaged


def test_each_damaged_image_is_named_with_its_reason() -> None:
    facts = ordinary(4)
    facts[2] = dataclasses.replace(facts[2], damage="truncated or damaged (cut)")

    (finding,) = check_damaged(images(facts=facts))

    assert (finding.kind, finding.severity) == ("damaged", "problem")
    assert len(finding.names) == 1
    assert list(finding.detail["reasons"].values()) == ["truncated or damaged (cut)"]
    assert "1 image is damaged" in finding.message


def test_what_is_probably_damaged_is_a_warning_and_what_is_damaged_is_not_named_twice() -> None:
    facts = ordinary(4)
    facts[1] = dataclasses.replace(facts[1], suspicion="possibly damaged (500 zeros)")
    facts[2] = dataclasses.replace(facts[2], damage="damaged (cut)", suspicion="possibly damaged (500 zeros)")

    damaged, suspect = check_damaged(images(facts=facts))

    assert (damaged.kind, suspect.kind, suspect.severity) == ("damaged", "suspect", "warning")
    assert suspect.names != damaged.names
    assert list(suspect.detail["reasons"].values()) == ["possibly damaged (500 zeros)"]


def test_whole_images_give_no_finding() -> None:
    assert check_damaged(images(facts=ordinary(4))) == []
