"""What was done to images while reading is gathered by kind."""

from __future__ import annotations

from audited_images import images, ordinary
from headstart.data.audit.conversions import check_conversions


def test_conversions_are_gathered_by_kind_whatever_their_numbers() -> None:
    notes = ("first of 3 frames", "first of 17 frames", "rotated as its EXIF tag says (6)",
             "transparency blended with the background")  # fmt: skip
    facts = ordinary(40)
    for i, note in enumerate(notes):
        facts[i] = ordinary(i + 1, notes=(note,))[i]

    findings = check_conversions(images(facts=facts))

    assert {finding.message: finding.names for finding in findings} == {
        "2 images: only the first frame is used.": ("a/0.png", "b/1.png"),
        "1 image: rotated as the EXIF tag says.": ("a/2.png",),
        "1 image: transparency blended with the background.": ("b/3.png",),
    }
    assert {(finding.kind, finding.severity) for finding in findings} == {("converted", "note")}
