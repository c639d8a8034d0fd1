"""The best epoch is kept, and early stopping returns to it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.training.meters import accuracy
from headstart.training.stepbystep import StepByStep
from small_loops import loop, weights


@pytest.mark.slow
def test_the_best_epoch_is_kept_and_early_stopping_goes_back_to_it() -> None:
    sbs = loop(lr=0.5)
    sbs.set_early_stopping(patience=3)
    seen: dict[int, list[Tensor]] = {}
    for record in sbs.epochs(60):
        seen[record.epoch] = weights(sbs)
    assert sbs.total_epochs < 60
    assert sbs.best is not None
    lowest = min(sbs.val_losses)  # type: ignore[type-var]
    assert sbs.val_losses.index(lowest) + 1 == sbs.best.epoch == sbs.total_epochs - 3
    assert all(torch.equal(a, b) for a, b in zip(weights(sbs), seen[sbs.best.epoch], strict=True))
    assert [record.epoch for record in sbs.records if record.best][-1] == sbs.best.epoch


def test_early_stopping_in_several_calls_is_that_in_one_and_starts_waiting_again_after_a_stop() -> None:
    def still() -> StepByStep:
        sbs = loop(lr=0.0)
        sbs.model[1] = nn.Identity()  # whose statistics would move: the first epoch stays the best
        sbs.set_early_stopping(patience=3)
        return sbs

    whole, several = still(), still()
    whole.train(9)
    several.train(2)
    several.train(7)
    assert whole.total_epochs == several.total_epochs == 4
    several.train(9)
    assert several.total_epochs == 7


def test_the_best_by_a_metric_is_the_largest_and_a_wrong_name_is_an_error() -> None:
    sbs = loop(metrics={"accuracy": accuracy})
    sbs.keep_best("val_accuracy")
    sbs.train(5)
    assert sbs.best is not None
    assert sbs.best.value == max(record.val_metrics["accuracy"] for record in sbs.records)
    sbs.keep_best("val_f1")
    with pytest.raises(TrainingError, match="val_accuracy"):
        sbs.train(1)
    with pytest.raises(TrainingError, match="keep_best"):
        loop().load_best()
