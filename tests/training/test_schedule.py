"""Schedulers step after batches or epochs, as their kind or the user says."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch.optim import SGD, lr_scheduler

from headstart.errors import TrainingError
from small_loops import loop, network, weights


def test_d14_a_plateau_scheduler_without_validation_is_an_error_before_the_first_epoch() -> None:
    sbs = loop(validation=False)
    sbs.set_lr_scheduler(lr_scheduler.ReduceLROnPlateau(sbs.optimizer))
    before = weights(sbs)
    with pytest.raises(TrainingError, match="ReduceLROnPlateau"):
        sbs.train(1)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(sbs), strict=True))


def test_d12_a_scheduler_of_another_optimizer_is_an_error() -> None:
    sbs = loop()
    other = SGD(network().parameters(), lr=0.1)
    with pytest.raises(TrainingError, match="another one"):
        sbs.set_lr_scheduler(lr_scheduler.StepLR(other, 1))


def test_epoch_and_batch_schedulers_leave_the_rates_the_book_records() -> None:
    sbs = loop(batch=20)
    sbs.set_lr_scheduler(lr_scheduler.StepLR(sbs.optimizer, 2))
    sbs.train(4)
    assert np.allclose(sbs.learning_rates, [[0.1], [0.01], [0.01], [0.001]])
    assert not sbs.is_batch_lr_scheduler

    sbs = loop(batch=20)
    sbs.set_lr_scheduler(lr_scheduler.OneCycleLR(sbs.optimizer, 0.5, total_steps=4))
    sbs.train(2)
    assert sbs.is_batch_lr_scheduler
    assert len(sbs.learning_rates) == 4


def test_d11_warm_restarts_start_at_zero_and_the_books_at_one() -> None:
    firsts = {}
    for compat in ("fixed", "book"):
        sbs = loop(batch=20, compat=compat)
        sbs.set_lr_scheduler(lr_scheduler.CosineAnnealingWarmRestarts(sbs.optimizer, 4))
        sbs.train(1)
        firsts[compat] = sbs.learning_rates[0][0]
    assert firsts["fixed"] == pytest.approx(0.1)
    assert firsts["book"] == pytest.approx(0.1 * (1 + math.cos(math.pi / 4)) / 2)


def test_any_scheduler_steps_at_the_interval_that_is_named() -> None:
    sbs = loop(batch=10)
    sequence = lr_scheduler.SequentialLR(
        sbs.optimizer,
        [lr_scheduler.LinearLR(sbs.optimizer, 0.1, 1.0, 4), lr_scheduler.CosineAnnealingLR(sbs.optimizer, 4)],
        [4],
    )
    sbs.set_lr_scheduler(sequence, interval="batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own SequentialLR calls step with an epoch, which torch deprecates
        sbs.train(2)
    assert len(sbs.learning_rates) == 8
    assert sbs.learning_rates[3][0] == pytest.approx(0.1)
    with pytest.raises(TrainingError, match="interval"):
        sbs.set_lr_scheduler(sequence, interval="hour")
