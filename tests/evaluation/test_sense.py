"""Numbers from a file: each is in the range of what its key says, and an interval holds its value."""

from __future__ import annotations

from typing import Any

import pytest

from headstart.evaluation.sense import check_numbers
from headstart.untrusted import Untrusted


def _span(value: float | None, low: float, high: float, n: int = 9) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": n, "method": "Wilson"}


@pytest.mark.parametrize(
    "values",
    [
        {"accuracy": _span(0.5, 0.4, 0.6), "p_value": 1, "n": 3, "nll": 0.1},
        {"accuracy": _span(None, 0.0, 1.0, 0)},  # there was nothing to measure
        {"difference": _span(-0.1, -0.2, 0.1)},
        {"gain": _span(-1.5, -2.7, -0.3)},  # of a loss
        {"accuracy": _span(1.0, 1.0 - 1e-12, 1.0 - 1e-12)},  # as rounding leaves it
        {"counts": {"train": {"accuracy": 40, "rate": 2}}, "timings": {"share": 12.5}},  # classes and steps of any name
        {"name": "accuracy", "rate": None, "images": ["a"], "is_n": True, "brightness": -7.5},
    ],
)
def test_numbers_in_their_ranges_pass(values: dict[str, Any]) -> None:
    check_numbers(values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rate": 1.5}, "rate is 1.5, not a share from 0 to 1"),
        ({"a": [{"probability": -0.1}]}, "probability is -0.1"),
        ({"images": -3}, "images is -3, not a number of images"),
        ({"n": 2.5}, "n is 2.5"),
        ({"n": 10**400}, "n is 1000"),
        ({"counts": {"train": {"ants": -1}}}, "count is -1"),
        ({"confusion": [[1, 2], [3, -4]]}, "count is -4"),
        ({"timings": {"head": -1.0}}, "seconds is -1.0"),
        ({"temperature": -2}, "temperature is -2, not a number from 0"),
        ({"bins": [{"low": 0.1, "high": 1e300}]}, "high is 1e[+]300"),
        ({"accuracy": _span(0.7, 0.8, 0.9)}, "accuracy is 0.7 from 0.8 to 0.9"),
        ({"recall": _span(0.5, -0.4, 0.6)}, "recall is 0.5 from -0.4"),
        ({"difference": _span(-0.1, -1.2, 0.1)}, "difference is -0.1"),
        ({"x": _span(None, 0.6, 0.4)}, "x is None from 0.6 to 0.4"),
    ],
)
def test_others_are_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(Untrusted, match=said):
        check_numbers(values)
