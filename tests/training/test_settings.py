"""Setters of the loop: optimiser, TensorBoard, warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.optim import Adam, lr_scheduler

from headstart.errors import TrainingError
from small_loops import loop


def test_a_loss_that_is_not_a_number_is_one_warning() -> None:
    sbs = loop(lr=1e30)
    with pytest.warns(UserWarning, match="learning rate may be too high") as warned:
        sbs.train(4)
    assert len([warning for warning in warned if "learning rate" in str(warning.message)]) == 1


def test_d13_a_new_optimizer_drops_the_scheduler_of_the_old_one_with_a_warning() -> None:
    sbs = loop()
    sbs.set_lr_scheduler(lr_scheduler.StepLR(sbs.optimizer, 1))
    with pytest.warns(UserWarning, match="StepLR"):
        sbs.set_optimizer(Adam(sbs.model.parameters()))
    assert sbs.scheduler is None
    sbs.train(1)
    assert sbs.learning_rates == []


def test_gradients_that_arrive_scaled_are_not_clipped_as_they_arrive() -> None:
    sbs = loop(accumulate=2)
    with pytest.raises(TrainingError, match="set_clip_grad_value"):
        sbs.set_clip_backprop(1e-3)
    assert sbs.clipping is None


def test_d26_tensorboard_steps_go_on_over_calls(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sbs = loop()
    sbs.set_tensorboard("run", str(tmp_path))
    sbs.train(2)
    sbs.train(1)
    folder = next(tmp_path.glob("run_*")) / "loss_training"
    events = EventAccumulator(str(folder)).Reload()
    # files of one second are read in the order of their names, in which a process's tenth writer comes before its ninth
    scalars = sorted(events.Scalars("loss"), key=lambda event: event.step)
    assert [event.step for event in scalars] == [1, 2, 3]
    assert [event.value for event in scalars] == pytest.approx(sbs.losses, rel=1e-6)


def test_a_folder_that_tensorboard_cannot_write_to_is_said(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(TrainingError, match="a folder for TensorBoard that can be written"):
        loop().set_tensorboard("mine", str(tmp_path / "runs"))
