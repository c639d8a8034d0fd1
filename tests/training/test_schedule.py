"""Schedulers step after batches or epochs, as their kind or the user says."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch.optim import SGD, lr_scheduler

from headstart.errors import TrainingError
from headstart.training.schedule import schedule_of
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


def test_a_scheduler_that_is_assigned_steps_by_its_kind_and_none_ends_it() -> None:
    sbs = loop(batch=20)
    sbs.scheduler = lr_scheduler.StepLR(sbs.optimizer, 1)
    sbs.train(2)
    assert np.allclose(sbs.learning_rates, [[0.01], [0.001]])
    sbs.scheduler = lr_scheduler.OneCycleLR(sbs.optimizer, 0.5, total_steps=4)
    assert sbs.is_batch_lr_scheduler
    sbs.train(2)
    assert len(sbs.learning_rates) == 6
    sbs.scheduler = None
    sbs.train(1)
    assert len(sbs.learning_rates) == 6


def test_the_interval_may_be_assigned_after_the_scheduler_as_the_course_does() -> None:
    sbs = loop(batch=20)
    sbs.scheduler = lr_scheduler.StepLR(sbs.optimizer, 1, 0.5)
    sbs.is_batch_lr_scheduler = True
    sbs.train(1)
    assert np.allclose(sbs.learning_rates, [[0.05], [0.025]])


def test_an_assigned_scheduler_of_another_optimizer_is_an_error_when_training_begins() -> None:
    sbs = loop()
    new = SGD(sbs.model.parameters(), lr=0.1)
    sbs.scheduler = lr_scheduler.StepLR(new, 1)
    with pytest.raises(TrainingError, match="another one"):
        sbs.train(1)
    sbs.optimizer = new  # in this order, too, both are taken
    sbs.train(1)
    assert np.allclose(sbs.learning_rates, [[0.01]])
    with pytest.warns(UserWarning, match="dropped"):
        sbs.optimizer = SGD(sbs.model.parameters(), lr=0.1)
    assert sbs.scheduler is None


@pytest.mark.parametrize("steps", [5, 6])
def test_a_schedule_that_is_too_short_is_an_error_before_the_first_step(steps: int) -> None:
    sbs = loop(batch=16)  # three batches an epoch
    sbs.set_lr_scheduler(lr_scheduler.OneCycleLR(sbs.optimizer, 0.5, total_steps=steps))
    before = weights(sbs)
    if steps == 5:
        with pytest.raises(TrainingError, match="a scheduler for 6 steps, found one with total_steps=5"):
            sbs.train(2)
        assert all(torch.equal(a, b) for a, b in zip(before, weights(sbs), strict=True))
        sbs.train(1)
        with pytest.raises(TrainingError, match="of which 3 are done"):
            sbs.train(1)
        return
    sbs.train(1)
    records = sbs.steps(1)
    next(records)
    records.close()  # in the middle of an epoch that the next call finishes
    sbs.train(1)
    assert sbs.total_epochs == 2


@pytest.mark.parametrize("interval", ["batch", "epoch"])
def test_an_inner_scheduler_without_a_step_left_is_an_error_of_ours_in_the_middle(interval: str) -> None:
    sbs = loop(batch=20)
    inner = [lr_scheduler.OneCycleLR(sbs.optimizer, 0.5, total_steps=2), lr_scheduler.StepLR(sbs.optimizer, 1)]
    sbs.set_lr_scheduler(lr_scheduler.ChainedScheduler(inner), interval)
    with pytest.raises(TrainingError, match="Tried to step 3 times"):
        sbs.train(3)


def test_early_stopping_may_end_a_training_that_is_longer_than_its_schedule() -> None:
    sbs = loop(batch=20)
    sbs.set_lr_scheduler(lr_scheduler.OneCycleLR(sbs.optimizer, 1e-30, total_steps=6))
    sbs.set_early_stopping(1, "loss", min_delta=100)
    sbs.train(50)
    assert sbs.total_epochs == 2


def test_a_class_in_the_place_of_a_scheduler_is_named() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(TrainingError, match="the class StepLR, not an object of it"):
        schedule_of(torch.optim.lr_scheduler.StepLR, optimizer)  # type: ignore[arg-type]
