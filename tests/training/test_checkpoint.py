"""Checkpoints: resuming equals going on, nothing in a file is run, and the book's files and ours read each other."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, lr_scheduler
from torch.utils.data import DataLoader, Dataset

import headstart
from headstart.errors import TrainingError
from headstart.freezing import policy_of
from headstart.training.checkpoint import BOOK_KEYS
from headstart.training.records import StepRecord
from headstart.training.stepbystep import StepByStep
from small_loops import loop as small_loop
from small_loops import weights


class Jittered(Dataset[Any]):
    """Points with noise from torch's, numpy's random numbers: an augmentation."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return torch.randn(3) * 0.1 + i / 30 + float(np.random.rand()), i % 2


def loop(workers: int = 0) -> StepByStep:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
    sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.1, momentum=0.9))
    loader = DataLoader(Jittered(), 4, shuffle=True, num_workers=workers, generator=torch.Generator().manual_seed(1))
    sbs.set_loaders(loader, DataLoader(Jittered(), 8))
    sbs.set_lr_scheduler(lr_scheduler.StepLR(sbs.optimizer, 2))
    sbs.keep_best()
    return sbs


def equal(one: StepByStep, other: StepByStep) -> bool:
    states = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in states)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_d8_resumed_between_epochs_equals_going_on(tmp_path: Path, workers: int) -> None:
    whole = loop(workers)
    whole.train(5)
    first, second = loop(workers), loop(workers)
    first.train(2)
    first.save_checkpoint(tmp_path / "a.pth")
    torch.rand(7)
    second.load_checkpoint(tmp_path / "a.pth")
    second.train(3)
    assert equal(whole, second)
    assert second.losses == whole.losses
    assert second.val_losses == whole.val_losses
    assert second.learning_rates == whole.learning_rates
    assert [r.loss for r in second.records] == [r.loss for r in whole.records]
    assert second.best is not None
    assert whole.best is not None
    assert second.best.epoch == whole.best.epoch


@pytest.mark.parametrize("asked", ["train", "set_seed"])
def test_a_seed_that_is_asked_for_after_loading_counts(tmp_path: Path, asked: str) -> None:
    whole, resumed = loop(), loop()
    whole.train(2)
    whole.save_checkpoint(tmp_path / "a.pth")
    whole.train(2, seed=7)
    resumed.load_checkpoint(tmp_path / "a.pth")
    if asked == "set_seed":
        resumed.set_seed(7)
    resumed.train(2, seed=7 if asked == "train" else None)
    assert equal(whole, resumed)


def test_an_epoch_that_was_left_in_the_middle_ends_as_it_began_whatever_seed_is_asked_for(tmp_path: Path) -> None:
    whole, first, second = loop(), loop(), loop()
    whole.train(1)
    next(iter(first.steps(1)))
    first.save_checkpoint(tmp_path / "a.pth")
    second.load_checkpoint(tmp_path / "a.pth")
    second.train(1, seed=7)
    assert equal(whole, second)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("at", [1, 3, 8, 11])
def test_resumed_in_the_middle_of_an_epoch_equals_going_on(tmp_path: Path, workers: int, at: int) -> None:
    whole, first, second = loop(workers), loop(workers), loop(workers)
    whole.train(2)
    steps = 0
    for record in first.steps(2):
        steps += isinstance(record, StepRecord)
        if steps == at and isinstance(record, StepRecord):
            first.save_checkpoint(tmp_path / "a.pth")
            break

    second.load_checkpoint(tmp_path / "a.pth")
    second.train(2 - second.total_epochs)

    assert equal(whole, second)
    assert second.losses == whole.losses


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_resumed_early_stopping_stops_where_going_on_would_have(tmp_path: Path, at: int) -> None:
    def still() -> StepByStep:  # with a rate of 0 no epoch is better than the first
        model = nn.Linear(3, 2)
        sbs = StepByStep(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr=0.0))
        data = [(torch.ones(3), 0), (torch.zeros(3), 1)]
        sbs.set_loaders(DataLoader(data, 2), DataLoader(data, 2))
        sbs.set_early_stopping(patience=3)
        return sbs

    whole, first, second = still(), still(), still()
    whole.train(9)
    for record in first.epochs(9):
        if record.epoch == at:
            first.save_checkpoint(tmp_path / "a.pth")
    second.load_checkpoint(tmp_path / "a.pth")
    second.train(9 - second.total_epochs)
    assert whole.total_epochs == second.total_epochs == 4


def test_a_checkpoint_after_an_interrupt_in_the_validation_equals_going_on(tmp_path: Path) -> None:
    whole, first, second = loop(), loop(), loop()
    whole.train(3)
    step, calls = first.val_step_fn, [0]

    def failing(x: Tensor, y: Tensor) -> float:
        calls[0] += 1
        if calls[0] == 6:  # of four in each epoch
            raise KeyboardInterrupt
        return step(x, y)

    first.val_step_fn = failing
    with pytest.raises(KeyboardInterrupt):
        first.train(3)
    first.save_checkpoint(tmp_path / "a.pth")
    second.load_checkpoint(tmp_path / "a.pth")
    second.train(3 - second.total_epochs)

    assert first.total_epochs == 1
    assert equal(whole, second)
    assert second.losses == whole.losses
    assert second.val_losses == whole.val_losses


def test_saving_changes_nothing(tmp_path: Path) -> None:
    plain, saving = loop(), loop()
    plain.train(2)
    for record in saving.steps(2):
        saving.save_checkpoint(tmp_path / "a.pth")
        assert record.epoch
    assert equal(plain, saving)


def test_the_five_keys_of_the_book_are_there_and_its_loader_can_read_them(tmp_path: Path) -> None:
    sbs = loop()
    sbs.train(2)
    sbs.save_checkpoint(str(tmp_path / "a.pth"))
    values = torch.load(tmp_path / "a.pth", weights_only=True)
    assert set(BOOK_KEYS) <= set(values)
    assert values["epoch"] == 2
    assert values["loss"] == sbs.losses
    assert all(type(loss) is float for loss in values["loss"])
    other = loop()
    other.model.load_state_dict(values["model_state_dict"])
    other.optimizer.load_state_dict(values["optimizer_state_dict"])
    assert equal(sbs, other)


def test_d9_an_old_file_with_numpy_floats_loads_and_goes_on(tmp_path: Path) -> None:
    old = loop()
    old.train(1)
    torch.save(
        {
            "epoch": 3,
            "model_state_dict": old.model.state_dict(),
            "optimizer_state_dict": old.optimizer.state_dict(),
            "loss": [np.float64(0.7), np.float64(0.6), np.float64(0.5)],
            "val_loss": [np.float64(0.8), None, np.float32(0.6)],
        },
        tmp_path / "old.pth",
    )
    sbs = loop()
    sbs.load_checkpoint(tmp_path / "old.pth")
    assert sbs.total_epochs == 3
    assert sbs.losses == [0.7, 0.6, 0.5]
    assert sbs.val_losses[1] is None
    assert equal(sbs, old)
    assert sbs.model.training
    sbs.train(1)
    assert sbs.total_epochs == 4


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_code_in_a_file_is_refused_and_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"epoch": Harm()}, "bad.pth")
    sbs = loop()
    before = [tensor.clone() for tensor in sbs.model.state_dict().values()]
    with pytest.raises(TrainingError, match="plain values and tensors, found a pickle that holds more"):
        sbs.load_checkpoint("bad.pth")
    assert not Path("harmed").exists()
    assert all(torch.equal(a, b) for a, b in zip(before, sbs.model.state_dict().values(), strict=True))


def test_damaged_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    sbs, path = loop(), tmp_path / "a.pth"
    sbs.train(1)
    sbs.save_checkpoint(path)
    whole = path.read_bytes()
    with pytest.raises(TrainingError, match="no such file"):
        sbs.load_checkpoint(tmp_path / "b.pth")
    for part in (whole[: len(whole) // 2], b"", b"hello"):
        path.write_bytes(part)
        with pytest.raises(TrainingError):
            sbs.load_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(TrainingError, match="model_state_dict"):
        sbs.load_checkpoint(path)
    path.write_bytes(whole)
    other = nn.Linear(3, 2)
    with pytest.raises(TrainingError, match=r"0\.weight"):
        StepByStep(other, nn.CrossEntropyLoss(), SGD(other.parameters(), lr=0.1)).load_checkpoint(path)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_state_of_another_kind_of_optimizer_is_refused_and_nothing_is_changed(
    tmp_path: Path, momentum: float
) -> None:
    def make(kind: type[Any], **options: float) -> StepByStep:
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        sbs = StepByStep(model, nn.CrossEntropyLoss(), kind(model.parameters(), lr=0.1, **options))
        sbs.set_loaders([(torch.ones(4, 3), torch.tensor([0, 1, 1, 0]))])
        sbs.train(1)
        return sbs

    make(SGD, momentum=momentum).save_checkpoint(tmp_path / "a.pth")
    tried, other = make(Adam), make(Adam)

    with pytest.raises(TrainingError, match="the state of this optimizer"):
        tried.load_checkpoint(tmp_path / "a.pth")
    tried.train(1)
    other.train(1)

    assert equal(tried, other)
    assert tried.total_epochs == 2


def test_a_file_that_cannot_be_written_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbs, path = loop(), tmp_path / "a.pth"
    sbs.save_checkpoint(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left"):
        sbs.save_checkpoint(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


def test_the_freeze_is_in_the_checkpoint(tmp_path: Path) -> None:
    frozen, fresh = loop(), loop()
    policy = headstart.freeze(frozen.model, until="3")
    frozen.train(1)
    frozen.save_checkpoint(tmp_path / "a.pth")
    fresh.load_checkpoint(tmp_path / "a.pth")
    assert policy_of(fresh.model) == policy
    before = policy.digests(fresh.model)
    fresh.train(1)
    assert policy.changed(fresh.model, before) == ()


def test_a_scheduler_that_is_missing_when_it_is_loaded_is_said(tmp_path: Path) -> None:
    sbs = loop()
    sbs.train(1)
    sbs.save_checkpoint(tmp_path / "a.pth")
    other = StepByStep(sbs.model, nn.CrossEntropyLoss(), SGD(sbs.model.parameters(), lr=0.1))
    with pytest.warns(UserWarning, match="scheduler"):
        other.load_checkpoint(tmp_path / "a.pth")


def test_an_open_file_takes_and_gives_a_checkpoint(tmp_path: Path) -> None:
    whole, first, second = loop(), loop(), loop()
    whole.train(3)
    first.train(2)
    with (tmp_path / "a.pth").open("w+b") as file:
        first.save_checkpoint(file)
        with pytest.raises(TrainingError, match="seek"):
            second.load_checkpoint(file)
        file.seek(0)
        second.load_checkpoint(file)
    second.train(1)
    assert equal(whole, second)


def test_without_an_optimizer_a_checkpoint_is_written_and_read_and_training_goes_on_once_there_is_one(
    tmp_path: Path,
) -> None:
    trained, evaluated = loop(), loop()
    trained.train(1)
    trained.save_checkpoint(tmp_path / "a.pth")
    evaluated.scheduler = evaluated.optimizer = None
    evaluated.load_checkpoint(tmp_path / "a.pth")
    assert equal(trained, evaluated)
    evaluated.save_checkpoint(tmp_path / "b.pth")
    with pytest.raises(TrainingError, match="the state of this optimizer"):
        loop().load_checkpoint(tmp_path / "b.pth")
    with pytest.raises(TrainingError, match="set_optimizer"):
        evaluated.train(1)


def test_what_is_no_file_of_bytes_is_an_error_of_ours(tmp_path: Path) -> None:
    sbs = loop()
    for unfit in (io.StringIO("x"), io.BytesIO(b"abc"), io.BytesIO(), None, 42):
        with pytest.raises(TrainingError):
            sbs.load_checkpoint(unfit)  # type: ignore[arg-type]
    (tmp_path / "a").write_bytes(b"abc")
    with pytest.raises(TrainingError, match="a whole checkpoint"):
        sbs.load_checkpoint(tmp_path / "a")
    with (tmp_path / "a").open("rb") as read_only:
        for file in (io.StringIO(), read_only, None):
            with pytest.raises(TrainingError, match="open for writing bytes"):
                sbs.save_checkpoint(file)  # type: ignore[arg-type]


CHANGES: dict[str, tuple[tuple[str, ...], Any]] = {
    "epoch as text": (("epoch",), "three"),
    "epoch below 0": (("epoch",), -3),
    "losses as text": (("loss",), "abc"),
    "a loss of None": (("loss",), [None]),
    "no optimizer": (("optimizer_state_dict",), None),
    "a rate of nan": (("optimizer_state_dict", "param_groups", 0, "lr"), float("nan")),
    "a momentum of nan": (("optimizer_state_dict", "state", 0, "momentum_buffer"), torch.full((8, 3), torch.nan)),
    "a momentum of another shape": (("optimizer_state_dict", "state", 0, "momentum_buffer"), torch.ones(7)),
    "a model that is a list": (("model_state_dict",), []),
    "a weight of nan": (("model_state_dict", "0.weight"), torch.full((8, 3), torch.nan)),
    "a weight that is text": (("model_state_dict", "0.weight"), "x"),
    "complex weights": (("model_state_dict", "0.weight"), torch.ones(8, 3, dtype=torch.complex64)),
    "weights without numbers": (("model_state_dict", "0.weight"), torch.ones(8, 3, device="meta")),
    "another part of ours": (("headstart",), 5),
    "a version as text": (("headstart", "version"), "x"),
    "records that are none": (("headstart", "records"), "x"),
    "a best epoch that is none": (("headstart", "best"), {}),
    "no freezing": (("headstart", "frozen"), None),
    "no random numbers": (("headstart", "random"), {}),
    "a position that is none": (("headstart", "position"), [1]),
}
"""What is wrong → where in a checkpoint, and the value that stands there."""


@pytest.mark.parametrize("change", CHANGES)
def test_a_value_that_makes_no_sense_is_an_error_of_ours_and_nothing_is_changed(tmp_path: Path, change: str) -> None:
    sbs, path = small_loop(validation=False), tmp_path / "altered.pth"
    sbs.train(2)
    sbs.save_checkpoint(path)
    values = torch.load(path, weights_only=True)
    (*way, last), value = CHANGES[change]
    place = values
    for key in way:
        place = place[key]
    place[last] = value
    torch.save(values, path)
    other = small_loop(validation=False)
    other.train(1)
    before, history = weights(other), (other.total_epochs, list(other.losses), len(other.records))
    rates, training = [group["lr"] for group in other.optimizer.param_groups], other.model.training
    with pytest.raises(TrainingError) as refused:
        other.load_checkpoint(path)
    assert refused.value.where == str(path)
    assert all(torch.equal(a, b) for a, b in zip(weights(other), before, strict=True))
    assert (other.total_epochs, other.losses, len(other.records)) == history
    assert [group["lr"] for group in other.optimizer.param_groups] == rates
    assert other.model.training is training
    other.train(1)  # and goes on
    assert other.total_epochs == 2
