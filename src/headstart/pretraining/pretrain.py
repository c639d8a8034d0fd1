"""Pretraining: a recipe and a teacher → the student's weights, through StepByStep; can be stopped and resumed."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from headstart.backbones.backbone import Backbone
from headstart.backbones.models.fire_resnet import FireResNet
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import TrainingError
from headstart.files import FolderLock, atomic_write, make_folder, os_errors, remove
from headstart.pretraining.bank import draw_bank
from headstart.pretraining.distillation import Distiller, DrawnPictures, distillation_loss
from headstart.pretraining.recipe import PretrainingRecipe
from headstart.pretraining.teacher import Teacher
from headstart.training.checkpoint import check_fits, read_checkpoint
from headstart.training.records import EpochRecord
from headstart.training.stepbystep import StepByStep
from headstart.untrusted import read_object, write_sealed

CHECKPOINT, WEIGHTS, LOG = "checkpoint.pt", "embedded.safetensors", "log.json"
_SCALE_SEED, _STATISTICS_SEED = 2**31 + 1, 2**32 + 1  # beyond every seed of training
_SCALE, _STATISTICS, _BATCH = 256, 512, 128  # pictures: for the teacher's scale, for batch norm, per batch
_WORTH_EXPORTING = 20_000  # pictures from which on the ten seconds of exporting the teacher pay off


@dataclass(frozen=True)
class Pretraining:
    """The parts of a pretraining: the loop, and the loader with its bank and teacher."""

    recipe: PretrainingRecipe
    loop: StepByStep
    pictures: DrawnPictures

    @property
    def distiller(self) -> Distiller:
        """The model that is trained."""
        distiller = self.loop.model
        assert isinstance(distiller, Distiller)
        return distiller

    @property
    def student(self) -> FireResNet:
        """The network whose weights are the result."""
        return self.distiller.student

    def epochs(self) -> Iterator[EpochRecord]:
        """Run the remaining epochs, the last of them without teacher forcing."""
        recipe, loop = self.recipe, self.loop
        forced = recipe.epochs - recipe.free_running_epochs
        self.distiller.free_running = loop.total_epochs >= forced
        seed = None if loop.total_epochs else recipe.seed  # of a checkpoint its random numbers go on
        for record in loop.epochs(recipe.epochs - loop.total_epochs, seed):
            self.distiller.free_running = loop.total_epochs >= forced
            yield record


def prepare(recipe: PretrainingRecipe, teacher: Backbone) -> Pretraining:
    """Draw the bank, scale the teacher, and set up student, optimiser and schedule in a StepByStep."""
    torch.manual_seed(recipe.seed)
    distiller = Distiller(FireResNet()).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(distiller.parameters(), lr=recipe.lr)
    loop = StepByStep(distiller, distillation_loss, optimizer, progress=False)
    bank = draw_bank(recipe.seed, silhouettes=recipe.silhouettes, textures=recipe.textures)
    maps = Teacher(teacher, recipe.size).to(loop.device)
    pictures = DrawnPictures(recipe, bank, maps)
    maps.measure(pictures.pixels(_SCALE_SEED, min(_SCALE, recipe.pictures)))
    if recipe.pictures >= _WORTH_EXPORTING:
        maps.use_onnxruntime()
    loop.set_loaders(pictures)
    schedule = OneCycleLR(optimizer, recipe.lr, recipe.steps, pct_start=recipe.warm_up, cycle_momentum=False)
    loop.set_lr_scheduler(schedule)
    return Pretraining(recipe, loop, pictures)


def pretrain(
    recipe: PretrainingRecipe,
    teacher: Backbone,
    folder: Path,
    *,
    start: Path | None = None,
    minutes: float | None = None,
    after_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> Path | None:
    """Train to the end of the recipe, resuming from the folder's checkpoint, and write weights and log.

    Args:
        start: folder of a finished pretraining to start from: its student, with a new optimiser.
        minutes: stop after the epoch in which this time is over; the next call resumes.

    Returns:
        The file of weights, float16; None if it was stopped before the end.

    Raises:
        TrainingError: the folder's checkpoint is of another recipe, it or the log is damaged, or another process trains
            there.
    """
    make_folder(folder)
    with _alone(folder):
        return _pretrain(recipe, teacher, folder, start=start, minutes=minutes, after_epoch=after_epoch)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Train in a folder in which no other process trains: it would go back to the epoch that it began with."""
    lock = FolderLock(folder)
    with os_errors(folder, kind=TrainingError):
        is_free = lock.acquire()
    if not is_free:
        raise TrainingError(
            expected="a folder in which nothing is trained",
            found="another process that pretrains there",
            where=folder,
            hint="Wait until it ends, or name another folder with --out.",
        )
    try:
        yield
    finally:
        remove(lock.file)  # before others may take it; on Windows it stays, since it is open
        lock.release()


def _pretrain(
    recipe: PretrainingRecipe,
    teacher: Backbone,
    folder: Path,
    *,
    start: Path | None,
    minutes: float | None,
    after_epoch: Callable[[EpochRecord], None],
) -> Path | None:
    began = time.monotonic()
    _check_same(recipe, folder)
    before = _log(folder).get("started_from") or (_log(start) if start is not None else None)
    work = prepare(recipe, teacher)
    loop = work.loop
    if (folder / CHECKPOINT).exists():
        loop.load_checkpoint(folder / CHECKPOINT)
    elif start is not None:
        _load_student(loop, start / CHECKPOINT)
    for record in work.epochs():
        loop.save_checkpoint(folder / CHECKPOINT)
        records = [one.to_dict() for one in loop.records]
        write_sealed(folder / LOG, {"recipe": recipe.to_dict(), "started_from": before, "epochs": records})
        after_epoch(record)
        if minutes is not None and time.monotonic() - began > 60 * minutes:
            break
    if loop.total_epochs < recipe.epochs:
        return None
    return write_weights(work, folder / WEIGHTS)


def write_weights(work: Pretraining, path: Path) -> Path:
    """Write the student's weights as float16, with batch-norm statistics re-estimated on new pictures."""
    student = work.student.eval()
    count = min(_STATISTICS, work.recipe.pictures)
    batches = [work.pictures.pixels(_STATISTICS_SEED + i, min(_BATCH, count)) for i in range(-(-count // _BATCH))]
    recalibrate_batch_norm(student, lambda: batches)
    half = {name: _half(tensor) for name, tensor in student.state_dict().items() if "num_batches" not in name}
    with atomic_write(path) as part:
        save_file(half, part, metadata={"licence": "MIT (headstart)", "recipe": json.dumps(work.recipe.to_dict())})
    return path


def _load_student(loop: StepByStep, checkpoint: Path) -> None:
    state = read_checkpoint(checkpoint)["model_state_dict"]
    check_fits(loop.model, state, checkpoint)
    loop.model.load_state_dict(state)


def _half(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().half()


def _check_same(recipe: PretrainingRecipe, folder: Path) -> None:
    if not (folder / LOG).exists():
        return
    found = _log(folder)["recipe"]
    if found != recipe.to_dict():
        raise TrainingError(
            expected=f"a folder of the recipe {recipe.name}, or a new one",
            found=f"one of {found.get('name')}, or of other values",
            where=folder,
            hint="Choose another folder.",
        )


def _log(folder: Path) -> dict[str, Any]:
    """The contents of a folder's log; empty if there is none yet."""
    path = folder / LOG
    if not path.exists():
        return {}
    try:
        return read_object(path, {"recipe": dict, "epochs": list})
    except (OSError, ValueError) as error:
        raise TrainingError(
            expected="the log of a pretraining",
            found=f"a damaged file: {error}",
            where=path,
            hint="Choose another folder, or remove this file if the recipe is the same.",
        ) from error
