"""A set of few bits in 16-bit files is noticed as a set, and values above a stated depth are."""

from __future__ import annotations

import dataclasses

from audited_images import images, ordinary
from headstart.data.audit.bit_depth import check_bit_depth
from headstart.data.audit.check import AuditInput


def _set(brightest: list[int], bit_depth: int = 16) -> AuditInput:
    facts = [
        dataclasses.replace(fact, brightest=b) for fact, b in zip(ordinary(len(brightest)), brightest, strict=True)
    ]
    return dataclasses.replace(images(facts=facts), bit_depth=bit_depth)


def test_a_dark_set_is_offered_one_scale() -> None:
    (finding,) = check_bit_depth(_set([4080, 3900, 4000, 100]))

    assert (finding.kind, finding.severity) == ("bit-depth", "warning")
    assert "--bit-depth 12" in finding.message
    assert "4,080 of 65,535" in finding.message
    assert (finding.detail["brightest"], finding.detail["bit_depth"]) == (4080, 12)


def test_a_set_of_a_quarter_of_the_brightness_is_not_called_black() -> None:
    (finding,) = check_bit_depth(_set([16383, 12000, 9000]))

    assert "none is brighter than 25.0 % of white" in finding.message
    assert "--bit-depth 14" in finding.message


def test_eight_bits_in_sixteen_are_noticed_too() -> None:
    (finding,) = check_bit_depth(_set([255, 200, 250]))

    assert "--bit-depth 8" in finding.message


def test_a_set_that_uses_its_range_or_is_mostly_of_8_bits_gives_no_finding() -> None:
    assert check_bit_depth(_set([65535, 4000, 3000])) == []
    assert check_bit_depth(_set([4000, 0, 0, 0])) == []
    assert check_bit_depth(_set([0, 0])) == []


def test_values_above_the_stated_depth_are_a_finding() -> None:
    (finding,) = check_bit_depth(_set([4000, 5000], bit_depth=12))

    assert finding.names == _set([4000, 5000]).names[1:2]
    assert "--bit-depth 13" in finding.message
