"""What a check receives, how checks are added, and what happens when one from outside fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from audited_images import balanced, images, ordinary
from headstart.data.audit.check import CHECKS, AuditInput, Check, register_check, run_checks
from headstart.data.finding import Finding
from headstart.data.image_index import SIGNATURE_SIDE, ImageFacts
from headstart.errors import RecipeError

OWN = ("unreadable", "damaged", "leaks", "two-labels", "duplicates", "class-balance", "image-sizes", "bit-depth",
       "conversions", "groups-across-splits")  # fmt: skip
Register = Callable[[Check], Check]


@pytest.fixture
def register() -> Iterator[Register]:
    """Adds a check named `mine`, and removes it after the test."""
    yield register_check("mine")
    CHECKS.remove("mine")


def test_headstarts_own_checks_come_first_in_a_fixed_order() -> None:
    assert tuple(CHECKS)[: len(OWN)] == OWN


def test_a_check_from_outside_runs_after_headstarts_own(register: Register) -> None:
    @register
    def check_first_image(given: AuditInput) -> list[Finding]:
        return [given.finding("first", "The first image.", severity="note", images=[0])]

    facts = [ImageFacts("c0", error="truncated"), *ordinary(40)[1:]]
    findings = run_checks(images(facts=facts))

    assert [finding.kind for finding in findings] == ["unreadable", "first"]
    assert (findings[1].names, findings[1].detail) == (("a/0.png",), {"count": 1})


def leave(given: AuditInput) -> list[Finding]:
    sys.exit(4)


def endless(given: AuditInput) -> Iterator[Finding]:
    while True:
        yield Finding("x", "note", "again")


@pytest.mark.parametrize(
    ("check", "found"),
    [
        (lambda given: [Finding("x", "note", str(1 / 0))], "ZeroDivisionError: division by zero"),
        (leave, "it called sys.exit"),
        (endless, "more than 1000 findings"),
        (lambda given: None, "TypeError"),
        (lambda given: ["too dark"], "str among the findings it returns"),
        (lambda given: [Finding("x", "note", None)], "message is NoneType, not a text"),
        (lambda given: [Finding(3, "note", "y")], "kind is int, not a text"),
        (lambda given: [Finding("x", "note", "y", detail={"z": object()})], "object has no plain form"),
        (lambda given: [given.finding("x", "y", severity="fatal")], "severity note or warning or problem"),
        (lambda given: [given.finding("x", "y", images=[999])], "IndexError"),
    ],
)
def test_a_check_that_fails_is_a_finding_beside_those_of_headstart(
    register: Register, check: Check, found: str
) -> None:
    register(check)

    findings = run_checks(images(facts=[ImageFacts("c0", error="truncated"), *ordinary(40)[1:]]))

    assert [finding.kind for finding in findings] == ["unreadable", "check-failed"]
    assert findings[1].message.startswith("The audit check 'mine' could not be done: ")
    assert found in findings[1].message
    assert findings[1].message.endswith("Correct, update or remove the script that registers it.")
    assert findings[1].severity == "warning"


def test_a_name_is_registered_once() -> None:
    with pytest.raises(RecipeError, match="'leaks', which is registered already"):
        register_check("leaks")(lambda given: [])


def test_columns_are_aligned_and_read_only() -> None:
    white = bytes([255]) * SIGNATURE_SIDE**2
    facts = [*ordinary(2, signature=white), ImageFacts("c2", error="truncated")]
    given = images(balanced(3, "train"), facts)

    assert given.names == ("a/0.png", "b/1.png", "a/2.png")
    assert (given.labels, given.splits, given.groups) == (("a", "b", "a"), ("train",) * 3, (None,) * 3)
    assert given.readable.tolist() == [True, True, False]
    assert (given.widths.tolist(), given.heights.tolist()) == ([200, 200, 0], [150, 150, 0])
    assert given.brightness[:2].tolist() == [255.0, 255.0]
    assert given.contrast[:2].tolist() == [0.0, 0.0]
    assert np.isnan([given.brightness[2], given.contrast[2]]).all()
    assert given.brightness is given.brightness  # computed once
    for column in (given.readable, given.widths, given.heights, given.brightness, given.contrast, given.thumbnails):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


def test_a_finding_about_groups_carries_their_names_and_number() -> None:
    finding = images().finding("pair", "A pair.", groups=[(0, 1)], detail={"more": 2})

    assert finding == Finding(
        "pair", "warning", "A pair.", ("a/0.png", "b/1.png"), (("a/0.png", "b/1.png"),), {"count": 1, "more": 2}
    )
