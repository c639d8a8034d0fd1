"""The judgement of folds: its parts by hand, chosen and judged on different images, the temperature of all folds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import t

from headstart.evaluation.calibration import fit_temperature
from headstart.evaluation.conformal import fit_conformal
from headstart.finetune.judgement import Judgement, judge
from headstart.finetune.result import SHRINK, HeldOut
from headstart.heads.cross_validation import group_folds

CLASSES = 3


def drawn(n: int, strength: float, seed: int) -> np.ndarray:
    """Scores of n images, some of them wrong."""
    rng = np.random.default_rng(seed)
    return strength * np.eye(CLASSES)[np.arange(n) % CLASSES] + rng.normal(size=(n, CLASSES))


def test_each_fold_is_judged_with_the_candidate_that_the_others_choose() -> None:
    labels, groups = np.arange(60) % CLASSES, np.arange(60) // 2
    probe, candidates = drawn(60, 1.0, 0), {"a": drawn(60, 1.5, 1), "b": drawn(60, 1.5, 2)}

    found = judge(probe, candidates, labels=labels, groups=groups)

    before = HeldOut.of(probe, labels, groups).log_losses
    after = [HeldOut.of(scores, labels, groups).log_losses for scores in candidates.values()]
    folds = group_folds(labels, groups)
    gains = np.empty(60)
    for fold in range(5):
        best = int(np.argmin([losses[folds != fold].mean() for losses in after]))
        gains[folds == fold] = (before - after[best])[folds == fold]
    sums = np.bincount(groups, weights=gains - gains.mean())
    error = np.sqrt(30 / 29 * (sums**2).sum()) / 60 * np.sqrt(1 + 5 / 4)  # variance between groups; Nadeau and Bengio
    assert found.gain.value == pytest.approx(gains.mean())
    assert found.gain.value - found.gain.low >= 1.96 * error * 0.999
    assert found.losses == pytest.approx({"a": after[0].mean(), "b": after[1].mean()})
    assert found.chosen == min(found.losses, key=found.losses.__getitem__)
    best_scores = candidates[found.chosen]
    assert found.temperature == fit_temperature(best_scores, labels, shrink=SHRINK)
    assert (found.folds, found.images) == (5, 60)
    calibrated = softmax(best_scores / found.temperature.value, axis=1)
    expected = fit_conformal(calibrated, labels, groups)
    assert expected is not None
    for one in (found, Judgement.from_dict(json.loads(json.dumps(found.to_dict())))):
        assert one.conformal is not None
        np.testing.assert_array_equal(one.conformal.thresholds, expected.thresholds)
        assert (one.conformal.images, one.conformal.groups) == (60, 30)
    older = found.to_dict()
    del older["conformal"]
    assert Judgement.from_dict(older).conformal is None
    assert "chosen on the other folds" in str(found)


def test_more_candidates_share_the_level_and_it_is_said() -> None:
    labels = np.arange(60) % CLASSES
    probe, one = drawn(60, 1.0, 0), drawn(60, 1.5, 1)

    few, many = (judge(probe, dict.fromkeys("abcd"[:count], one), labels=labels) for count in (2, 4))

    half, wider = (found.gain.value - found.gain.low for found in (few, many))
    assert few.gain.value == many.gain.value
    assert wider / half == pytest.approx(t.ppf(0.9875, 59) / t.ppf(0.975, 59), rel=1e-6)  # 5 % over four, and over two
    assert "97.5 % interval, for 4 candidates" in str(many)
    assert "interval" not in str(few)


def test_what_is_plainly_better_is_accepted_and_what_is_worse_or_the_same_is_not() -> None:
    labels = np.arange(150) % CLASSES
    weak, strong = drawn(150, 1.0, 0), drawn(150, 4.0, 1)

    assert judge(weak, {"better": strong}, labels=labels).accepted
    assert not judge(strong, {"worse": weak}, labels=labels).accepted
    assert not judge(weak, {"same": weak}, labels=labels).accepted


def test_a_lower_loss_with_fewer_correct_images_is_not_accepted() -> None:
    labels = np.arange(200) % 2
    sure = np.where(np.eye(2)[labels] > 0, 3.0, -3.0)
    probe, candidate = sure.copy(), sure.copy()
    probe[:20] *= -1  # ten per cent wrong and sure of it
    candidate[:22] *= -0.001  # more of them wrong, but not sure at all

    found = judge(probe, {"vague": candidate}, labels=labels)

    assert found.gain.low > 0
    assert found.accuracy < found.probe_accuracy
    assert not found.accepted


def test_it_comes_back_from_json() -> None:
    found = judge(drawn(30, 1.0, 0), {"a": drawn(30, 2.0, 1)}, labels=np.arange(30) % CLASSES)
    assert Judgement.from_dict(json.loads(json.dumps(found.to_dict()))) == found
