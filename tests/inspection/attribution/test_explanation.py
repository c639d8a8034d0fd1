"""Explanation: where a map is hottest, in words, and what its checks say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from headstart.inspection.attribution.explanation import Explanation, HeatMap, where_is


def heat_map(**changes) -> HeatMap:
    values = {"method": "occlusion", "hidden": 0.5, "elsewhere": 0.9, "sanity": 0.1, "incompleteness": None}
    return HeatMap(heat=np.eye(14), **{**values, **changes})


def explanation(*maps: HeatMap, **changes) -> Explanation:
    values = {"model": "m", "image": "a.png", "predicted": "bees", "target": "bees", "probability": 0.9, "stage": "s"}
    return Explanation(picture=np.zeros((14, 14, 3)), maps=maps, **{**values, **changes})


@pytest.mark.parametrize(
    ("y", "x", "words"),
    [(1, 1, "at the upper left"), (5, 5, "in the middle"), (9, 5, "at the lower half"), (5, 9, "at the right")],
)
def test_positions_are_named_as_a_reader_sees_them(y, x, words):
    heat = np.zeros((11, 11))
    heat[y, x] = 1.0
    assert where_is(heat) == words


def test_between_two_hot_corners_nothing_is_hot():
    heat = np.zeros((14, 14))
    heat[:2, :2], heat[-2:, -2:] = 1.0, 2.0
    assert where_is(heat) == "at the lower right"


@pytest.mark.parametrize(
    ("hidden", "elsewhere", "matters"), [(0.5, 0.9, True), (0.85, 0.9, False), (None, None, False)]
)
def test_a_map_matters_where_hiding_it_halves_the_odds(hidden, elsewhere, matters):
    assert heat_map(hidden=hidden, elsewhere=elsewhere).matters is matters


def test_failed_checks_are_reported():
    text = " ".join(explanation(heat_map(sanity=-0.8, incompleteness=0.2, hidden=0.9)).interpretation)
    assert "the prediction does not depend on it" in text
    assert "shuffled weights gives a similar map (rank correlation -0.80)" in text
    assert "its sum is 20.0\u00a0% off" in text


def test_another_class_than_the_predicted_one_is_named_and_values_are_json_without_maps():
    found = explanation(heat_map(sanity=float("nan")), target="ants")
    assert found.title == "a.png: ants 90.0\u00a0% (predicted: bees)"
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["maps"] == [
        {"method": "occlusion", "hidden": 0.5, "elsewhere": 0.9, "sanity": None, "incompleteness": None}
    ]


def test_a_check_that_does_not_apply_is_a_dash_in_the_table():
    checks, *_ = explanation(heat_map()).tables
    assert checks.formatted_rows[0][0] == "occlusion"
    assert checks.formatted_rows[0][checks.columns.index("incompleteness")] == "-"
