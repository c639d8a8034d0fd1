"""ParityReport: ties do not count, everything beyond a tolerance is a problem."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from headstart.evaluation.comparison import Comparison, RunPredictions, compare
from headstart.onnx_export.parity_report import ParityReport, ParityRow


def row(name: str = "a.png", **changed: Any) -> ParityRow:
    values = {"expected": "cat", "found": "cat", "difference": 0.001, "margin": 0.5, "pixels": 1, **changed}
    return ParityRow(name=name, **values)


def report(*rows: ParityRow) -> ParityReport:
    return ParityReport(rows, tolerance=0.005, pixel_tolerance=2, left_out={})


def test_a_file_that_agrees_has_no_problems() -> None:
    found = report(row(), row("b.png", difference=0.003))

    assert found.problems == ()
    assert found.agreement == 1
    assert found.largest == 0.003
    assert found.mean == 0.002
    assert json.loads(json.dumps(found.to_dict()))["passed"] is True


def test_another_class_counts_unless_the_two_best_are_tied() -> None:
    tie = report(row(), row("t.png", found="dog", margin=0.009))
    other = report(row(), row("o.png", found="dog", margin=0.011))

    assert tie.agreement == 1
    assert tie.problems == ()
    assert [one.name for one in tie.ties] == ["t.png"]
    assert ", 1 tie left out" in str(tie)
    assert other.agreement == 0.5
    assert "1 of 2 images get another class: o.png" in other.problems[0]


def test_distances_and_sets_beyond_their_tolerance_are_problems() -> None:
    close = report(
        row(distance=0.004, set_margin=0.0, own_set_margin=0.0),
        # the order of two classes that are almost equally probable: an empty set is filled with the other one
        row("b.png", distance=0.001, set_margin=0.46, own_set_margin=1e-6),
    )
    far = report(row(distance=0.006, set_margin=0.0, own_set_margin=0.002))

    assert close.problems == ()
    assert (close.distance, close.set_agreement) == (0.004, 0.5)
    assert "Prediction sets are the same for 50.0\u00a0%" in str(close)
    assert len(far.problems) == 2
    assert "another prediction set: a.png" in far.problems[1]
    assert report(row()).distance is report(row()).set_agreement is None


def test_a_name_with_a_line_break_stays_on_its_line() -> None:
    assert "a\\nb.png" in str(report(row("a\nb.png", difference=0.5))).splitlines()[-1]


def test_a_probability_or_a_pixel_beyond_its_tolerance_is_a_problem() -> None:
    assert "0.0060" in report(row(difference=0.006)).problems[0]
    assert "3 grey levels" in report(row(pixels=3)).problems[0]
    assert report().problems == ("No image could be compared.",)


def test_on_the_same_pixels_an_int8_file_may_differ_by_rounding_alone() -> None:
    exact = replace(report(row(same_pixels=1e-7)), same_pixels_tolerance=1e-4)
    wrong = replace(report(row(same_pixels=0.002)), same_pixels_tolerance=1e-4)

    assert exact.problems == ()
    assert exact.to_dict()["largest_difference_on_same_pixels"] == 1e-7
    assert "On the same prepared pixels a probability differs by 0.002" in wrong.problems[0]


def paired(lost: int, gained: int, n: int) -> Comparison:
    """A is correct on all of n images but `gained`, B on all but `lost`."""
    labels = ("cat",) * n
    a = ("dog",) * gained + ("cat",) * (n - gained)
    b = ("cat",) * gained + ("dog",) * lost + ("cat",) * (n - gained - lost)
    keys, classes = tuple(map(str, range(n))), ("cat", "dog")
    first, second = (RunPredictions(keys=keys, labels=labels, predicted=p, classes=classes) for p in (a, b))
    return compare(first, second)


@pytest.mark.parametrize(
    ("lost", "gained", "n", "refused"),
    [
        (0, 0, 50, False),
        (2, 0, 50, False),  # 4 points, but two images
        (3, 0, 50, True),
        (0, 9, 50, False),  # better
        (4, 0, 200, False),  # 2 points
        (5, 0, 200, True),
        (9, 8, 50, False),  # one net
        (12, 0, 1000, True),  # 1.2 points, significantly
    ],
)
def test_int8_may_lose_two_points_or_two_images_and_nothing_significant(
    lost: int, gained: int, n: int, refused: bool
) -> None:
    found = replace(report(row()), accuracy=paired(lost, gained, n))

    assert bool(found.loss) is refused
    assert (found.loss in found.problems) is refused
    assert "in int8" in str(found)
    assert report(row()).loss == ""
