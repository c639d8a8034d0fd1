"""Held-out images before and after a fine-tuning: log losses against torch, the gain, the harm."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from headstart.finetune.result import FineTuneResult, HeldOut
from headstart.freezing import FreezePolicy
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
    gain, better = made(before, after).gain([str(i) for i in range(40)], 0)
    assert gain.value == pytest.approx(before.log_loss - after.log_loss)
    assert gain.low > 0
    assert better
    _, back = made(after, before).gain([str(i) for i in range(40)], 0)
    assert not back
    # one image of forty: within the interval
    same, _ = made(before, held_out(31, 9, 1.0)).gain([str(i) for i in range(40)], 0)
    assert same.low <= 0


def test_a_fine_tuning_that_did_harm_says_so() -> None:
    good, bad = held_out(38, 2, 1.0), held_out(30, 10, 1.0)
    sentence = dataclasses.replace(made(good, bad), strategy="probe-then-full").harm
    assert "accuracy 95.0\u00a0% → 75.0\u00a0%" in sentence
    assert "--strategy auto" in sentence
    assert dataclasses.replace(made(bad, good), strategy="probe-then-full").harm == ""
    assert made(good, bad).harm == ""  # full begins with an empty head, not with the probe's


def test_log_losses_are_those_of_the_calibrated_probabilities() -> None:
    scores = np.array([[2.0, 0.5], [0.1, 0.3], [1.0, -1.0], [0.2, 0.1]])
    labels = np.array([0, 1, 1, 0])
    found = HeldOut.of(scores, labels)
    logits = torch.from_numpy(scores / found.temperature)
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none").numpy()
    np.testing.assert_allclose(found.log_losses, expected, rtol=1e-12)
    nothing = HeldOut.of(np.empty((0, 2)), np.empty(0, dtype=np.int64))
    assert np.isnan(nothing.log_loss)
    assert nothing.temperature == 1.0
