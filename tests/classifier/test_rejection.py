"""Which answers are rejected, with which reason; options that contradict and files that cannot tell are refused."""

from __future__ import annotations

import pytest

from headstart.classifier.predictions import Prediction
from headstart.classifier.rejection import Rejection
from headstart.errors import ClassifierError, RecipeError

STRANGE = Prediction("a", "x", 0.9, {"x": 0.9, "y": 0.1}, familiar=False, familiarity_percentile=0.4)
UNSURE = Prediction("b", "x", 0.6, {"x": 0.6, "y": 0.4}, familiar=True, prediction_set=("x", "y"), atypical=False)
ATYPICAL = Prediction("c", "x", 0.6, {"x": 0.6, "y": 0.4}, prediction_set=("x",), atypical=True)
SURE = Prediction("d", "x", 0.9, {"x": 0.9}, familiar=True, prediction_set=("x",), atypical=False)
BAD = Prediction("e", None, 0.0, {}, error="empty")


def test_only_the_kinds_that_were_asked_for_are_rejected() -> None:
    by_default = Rejection.of("reject", None)
    both = Rejection.of(None, "unsure, atypical")

    assert by_default.apply(STRANGE).rejected == "unlike the training images: 0.4 % of them are as far from the others"
    assert by_default.apply(STRANGE).label is None
    assert by_default.apply(STRANGE).probabilities == STRANGE.probabilities
    assert by_default.apply(UNSURE) is UNSURE
    assert both.apply(UNSURE).rejected == "unsure between x, y"
    assert both.apply(ATYPICAL).rejected == "no class is close enough"
    assert both.apply(STRANGE) is STRANGE
    for one in (SURE, BAD):
        assert by_default.apply(one) is one
        assert both.apply(one) is one
    assert Rejection.of("keep", None).apply(STRANGE) is STRANGE
    assert Rejection.of(None, None).kinds == ()


@pytest.mark.parametrize(
    ("policy", "kinds", "message"),
    [
        ("drop", None, "keep or reject"),
        (None, "unfamilar", "unfamiliar"),
        (None, "", None),
        ("keep", "unsure", "Leave out one"),
    ],
)
def test_wrong_options_are_named(policy: str | None, kinds: str, message: str | None) -> None:
    with pytest.raises(RecipeError, match=message):
        Rejection.of(policy, kinds)


def test_what_the_classifier_cannot_tell_is_refused_with_its_reason() -> None:
    few = {"familiarity": {"threshold": None, "reason": "too few"}, "conformal": {"method": "lac"}}
    with pytest.raises(ClassifierError, match="one without threshold for unfamiliar images: too few"):
        Rejection.of("reject", None).check(few)
    with pytest.raises(ClassifierError, match="one without prediction sets"):
        Rejection.of(None, ["atypical"]).check({"familiarity": {"threshold": 0.4, "reason": ""}, "conformal": {}})
    Rejection.of(None, "unsure").check(few)
    Rejection.of("keep", None).check({})
