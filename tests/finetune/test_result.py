"""Held-out images before and after a fine-tuning: log losses against torch, the gain, the harm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.evaluation.calibration import fit_temperature
from headstart.finetune.result import SHRINK, FineTuneResult, HeldOut
from headstart.freezing import FreezePolicy
from headstart.heads.cross_validation import group_folds
from headstart.heads.head import Head


def held_out(correct: int, wrong: int, scale: float) -> HeldOut:
    labels = np.arange(correct + wrong) % 2
    scores = np.zeros((correct + wrong, 2))
    scores[np.arange(correct + wrong), labels] = scale * np.linspace(0.8, 1.2, correct + wrong)
    scores[:wrong] *= -1
    return HeldOut.of(scores, labels)


def made(before: HeldOut, after: HeldOut) -> FineTuneResult:
    return FineTuneResult(
        strategy="full",
        head=Head(kind="trained", stages=("s",), weight=np.zeros((1, 2)), bias=np.zeros(2), temperature=1.0),
        records=(),
        frozen=FreezePolicy(),
        changed=(),
        seconds=0.0,
        cached_seconds=0.0,
        at_start=before,
        held_out=after,
    )


def test_the_gain_is_the_mean_fall_of_the_log_loss_and_must_lie_above_zero_as_a_whole() -> None:
    before, after = held_out(30, 10, 1.0), held_out(38, 2, 1.0)
    gain, better = made(before, after).gain([str(i) for i in range(40)])
    assert gain.value == pytest.approx(before.log_loss - after.log_loss)
    assert gain.low > 0
    assert better
    _, back = made(after, before).gain([str(i) for i in range(40)])
    assert not back
    # one image of forty: within the interval
    same, _ = made(before, held_out(31, 9, 1.0)).gain([str(i) for i in range(40)])
    assert same.low <= 0


def test_worse_is_a_higher_log_loss_or_a_lower_accuracy_on_the_same_images() -> None:
    good, bad = held_out(38, 2, 1.0), held_out(30, 10, 1.0)
    assert made(good, bad).is_worse
    assert not made(bad, good).is_worse
    assert not made(good, good).is_worse


def test_a_fine_tuning_that_did_harm_says_so() -> None:
    good, bad = held_out(38, 2, 1.0), held_out(30, 10, 1.0)
    sentence = made(good, bad).harm
    assert "full made 40 held-out images worse: accuracy 95.0\u00a0% → 75.0\u00a0%" in sentence
    assert made(bad, good).harm == ""


def test_a_temperature_from_elsewhere_is_that_of_the_head() -> None:
    result = made(held_out(30, 10, 1.0), held_out(38, 2, 1.0))
    fitted = held_out(30, 10, 1.0).fitted
    assert fitted is not None
    changed = result.calibrated_by(fitted)
    assert changed.head.temperature == fitted.value
    assert changed.fitted == fitted
    assert changed.to_dict()["held_out"]["temperature"] == fitted.value
    nothing = HeldOut.of(np.empty((0, 2)), np.empty(0, dtype=np.int64))
    alone = made(nothing, nothing).calibrated_by(fitted).to_dict()["held_out"]
    assert (alone["images"], alone["temperature"]) == (0, fitted.value)
    assert "before" not in alone  # nothing was held out besides the folds


def test_log_losses_are_those_of_the_calibrated_probabilities_of_the_other_folds() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    scores = 3 * (np.eye(2)[labels] + 0.8 * rng.normal(size=(40, 2)))
    groups = np.arange(40) // 4
    folds = group_folds(labels, groups)
    expected = np.empty(40)
    for fold in range(5):
        others = folds != fold
        temperature = fit_temperature(scores[others], labels[others], shrink=SHRINK).value
        logits = torch.from_numpy(scores[~others] / temperature)
        target = torch.from_numpy(labels[~others])
        expected[~others] = nn.functional.cross_entropy(logits, target, reduction="none").numpy()

    found = HeldOut.of(scores, labels, groups)

    np.testing.assert_allclose(found.log_losses, expected, rtol=1e-12)
    assert found.temperature == fit_temperature(scores, labels, shrink=SHRINK).value


def test_nothing_held_out_leaves_the_temperature_at_one() -> None:
    nothing = HeldOut.of(np.empty((0, 2)), np.empty(0, dtype=np.int64))
    assert np.isnan(nothing.log_loss)
    assert nothing.temperature == 1.0
    assert made(nothing, nothing).to_dict()["held_out"] == {"images": 0, "temperature": 1.0}


def test_the_record_shows_how_uncertain_the_temperature_is() -> None:
    after = held_out(20, 3, 4.0)
    assert after.fitted is not None

    shown = made(after, after).to_dict()["held_out"]

    assert shown == {
        "images": 23,
        "temperature": after.fitted.value,
        "temperature_interval": [after.fitted.low, after.fitted.high],
        "temperature_at_bound": False,
        "before": after.accuracy,
        "after": after.accuracy,
    }
    assert after.fitted.low < after.temperature < after.fitted.high
    # scores that are far too sure of three mistakes: 23 images pull T up, but not to where they alone would
    assert 1 < after.temperature < fit_temperature(after.scores, after.labels).value
