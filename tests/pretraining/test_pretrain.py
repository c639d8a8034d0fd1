"""Pretraining: a loss that falls, a stop that changes nothing, a folder that belongs to one recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from headstart.errors import TrainingError
from headstart.files import FolderLock
from headstart.pretraining.pretrain import prepare, pretrain
from pretraining.made_bank import TINY, untaught_teacher


@pytest.mark.slow
def test_the_student_learns_what_the_teacher_sees() -> None:
    work = prepare(replace(TINY, epochs=6, free_running_epochs=2, batches=6, batch_size=8), untaught_teacher())

    losses = [record.loss for record in work.epochs()]

    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.slow
def test_a_pretraining_that_was_stopped_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = pretrain(TINY, untaught_teacher(), tmp_path / "whole")

    stopped = [pretrain(TINY, untaught_teacher(), tmp_path / "parts", minutes=0) for _ in range(3)]

    assert stopped[:2] == [None, None]
    assert whole is not None
    assert stopped[2] is not None
    one, two = load_file(whole), load_file(stopped[2])
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(tensor.dtype == torch.float16 for tensor in one.values())


@pytest.mark.slow
def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    pretrain(TINY, untaught_teacher(), tmp_path, minutes=0)

    with pytest.raises(TrainingError, match="a folder of the recipe tiny"):
        pretrain(replace(TINY, batch_size=5), untaught_teacher(), tmp_path)


def test_two_processes_do_not_pretrain_in_one_folder(tmp_path: Path) -> None:
    other = FolderLock(tmp_path)
    assert other.acquire()

    with pytest.raises(TrainingError, match="another process that pretrains there"):
        pretrain(TINY, untaught_teacher(), tmp_path, minutes=0)
    other.release()
    (tmp_path / "log.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TrainingError, match="the log of a pretraining"):
        pretrain(TINY, untaught_teacher(), tmp_path, minutes=0)

    assert [path.name for path in tmp_path.iterdir()] == ["log.json"]


def test_a_damaged_log_is_an_error_that_names_it(tmp_path: Path) -> None:
    for damaged in ("", "[]", "{}"):
        (tmp_path / "log.json").write_text(damaged, encoding="utf-8")
        with pytest.raises(TrainingError, match=r"the log of a pretraining(.|\n)*log\.json"):
            pretrain(TINY, untaught_teacher(), tmp_path, minutes=0)


@pytest.mark.slow
def test_a_pretraining_that_starts_from_another_has_its_student_and_names_it(tmp_path: Path) -> None:
    pretrain(TINY, untaught_teacher(), tmp_path / "first")
    still = replace(TINY, name="still", epochs=1, batches=1, lr=1e-9, size=72)

    pretrain(still, untaught_teacher(), tmp_path / "second", start=tmp_path / "first")

    log = json.loads((tmp_path / "second" / "log.json").read_text(encoding="utf-8"))
    assert log["started_from"]["recipe"]["name"] == "tiny"
    one, two = (load_file(tmp_path / folder / "embedded.safetensors") for folder in ("first", "second"))
    convolutions = [name for name, tensor in one.items() if tensor.dim() == 4]
    assert len(convolutions) == 25
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in convolutions)
