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


def test_whole_images_give_no_finding() -> None:
    assert check_damaged(images(facts=ordinary(4))) == []
