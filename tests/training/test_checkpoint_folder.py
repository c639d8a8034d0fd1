"""The latest checkpoint and the one before it are found again, and a halved batch is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headstart.errors import TrainingError
from headstart.training.checkpoint_folder import LATEST, PREVIOUS, CheckpointFolder
from small_loops import equal, loop


def test_the_latest_checkpoint_is_loaded(tmp_path: Path) -> None:
    folder, sbs, again = CheckpointFolder(tmp_path, 0.0), loop(), loop()
    assert not folder.load(again)
    for _ in range(2):
        sbs.train(1)
        folder.save(sbs)

    assert folder.load(again)
    assert again.total_epochs == 2
    assert equal(sbs, again)


def test_a_damaged_file_is_skipped_with_a_warning_for_the_one_before_it(tmp_path: Path) -> None:
    folder, sbs, again = CheckpointFolder(tmp_path, 0.0), loop(), loop()
    for _ in range(2):
        sbs.train(1)
        folder.save(sbs)
    (tmp_path / LATEST).write_bytes(b"damaged")

    with pytest.warns(UserWarning, match="trying the one before it"):
        assert folder.load(again)

    assert again.total_epochs == 1


def test_checkpoints_none_of_which_can_be_used_are_an_error(tmp_path: Path) -> None:
    for name in (LATEST, PREVIOUS):
        (tmp_path / name).write_bytes(b"damaged")

    with pytest.warns(UserWarning, match="cannot be used"), pytest.raises(TrainingError, match="checkpoint"):
        CheckpointFolder(tmp_path, 0.0).load(loop())


def test_a_checkpoint_is_written_when_it_is_due(tmp_path: Path) -> None:
    rarely, often = CheckpointFolder(tmp_path / "rarely", 1e9), CheckpointFolder(tmp_path / "often", 0.0)
    for folder in (rarely, often):
        folder.save_when_due(loop())

    assert not (tmp_path / "rarely" / LATEST).exists()
    assert (tmp_path / "often" / LATEST).exists()


def test_starting_again_removes_the_checkpoints_and_counts_the_halvings(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, 0.0)
    folder.save(loop())
    assert folder.halvings == 0

    folder.start_again()
    folder.start_again()

    assert not (tmp_path / LATEST).exists()
    assert CheckpointFolder(tmp_path, 0.0).halvings == 2


def test_a_saved_loop_is_left_as_it_was(tmp_path: Path) -> None:
    sbs = loop()
    sbs.train(1)
    before = torch.get_rng_state()

    CheckpointFolder(tmp_path, 0.0).save(sbs)

    assert torch.equal(torch.get_rng_state(), before)
