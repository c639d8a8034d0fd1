"""pretrain: make the embedded backbone anew, from drawn pictures and a teacher; stopped and resumed at any time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from headstart import runtime
from headstart.backbones.backbone import Backbone, load_backbone
from headstart.pretraining.card import write_card
from headstart.pretraining.pretrain import pretrain as run_recipe
from headstart.pretraining.recipe import PretrainingRecipe, recipe_of
from headstart.pretraining.teacher import NAME as TEACHER
from headstart.pretraining.verdict import judge
from headstart.progress import Notice, OnEvent, Progress, ProgressReporter, print_event
from headstart.training.records import EpochRecord
from headstart.workbench.events import FilesWritten


def pretrain(
    recipe: str = "small",
    *,
    out: str | Path = "pretrained",
    weights: str | None = None,
    start: str | Path | None = None,
    gate: str | Path | None = None,
    minutes: float | None = None,
    offline: bool = False,
    on_event: OnEvent = print_event,
) -> Path | None:
    """Pretrain by a recipe's name into a folder: weights, log, card; a second call goes on where the first stopped.

    Args:
        recipe: `proof` (a minute or two), `short` (half an hour), `small` (1.2 hours on two cores: what is shipped) or
            `large` (for a GPU).
        out: folder. weights: file or URL of the teacher, squeezenet1_0; its own source if left out.
        start: folder of a finished pretraining to begin with.
        gate: folder of real image sets to measure the weights on; without it the card has no gate.
        minutes: stop after so many; the next call goes on.

    Returns:
        The file of weights; None when it was stopped before the recipe's end.

    Raises:
        RecipeError: there is no such recipe. BackboneError: the teacher's weights cannot be had.
        TrainingError: the folder is of another recipe. DataError: the gate's images are not there.
    """
    chosen, folder = recipe_of(recipe), Path(out)
    on_event(Notice(f"{chosen.pictures:,} pictures are drawn and shown to {TEACHER} and to the student, in {folder}"))
    fetch = ProgressReporter(on_event, f"fetch {TEACHER}", unit="bytes")
    teacher = load_backbone(TEACHER, weights=weights, offline=offline, progress=fetch)
    threads, before = torch.get_num_threads(), None if start is None else Path(start)
    torch.set_num_threads(max(1, runtime.cores() // 2))  # the other cores draw and ask the teacher
    try:
        file = run_recipe(chosen, teacher, folder, start=before, minutes=minutes, on_event=_telling(on_event, chosen))
    finally:
        torch.set_num_threads(threads)
    if file is None:
        on_event(Notice("Stopped before the recipe's end; the same command goes on."))
        return None
    card = _measure(folder, file, chosen, teacher, Path(gate) if gate is not None else None, on_event)
    train = f"headstart train photos --backbone embedded --weights {file}"
    on_event(FilesWritten(folder, (file.name, card.name, "log.json"), train))
    return file


def _measure(
    folder: Path, file: Path, recipe: PretrainingRecipe, teacher: Backbone, data: Path | None, on_event: OnEvent
) -> Path:
    verdict = None
    if data is not None:
        candidate = load_backbone("embedded", weights=str(file))
        verdict = judge(
            data, candidate, teacher, on_event=lambda *said: on_event(Notice("{}: {} {:.3f}".format(*said)))
        )
    return write_card(folder, file, recipe, teacher, verdict)


def _telling(on_event: OnEvent, recipe: PretrainingRecipe) -> Callable[[EpochRecord, int], None]:
    seconds = 0.0
    pictures = recipe.batches * recipe.batch

    def told(record: EpochRecord, epochs: int) -> None:
        nonlocal seconds
        seconds += record.seconds
        name = f"pretrain, loss {record.loss:.4f}"
        on_event(Progress(name, record.epoch * pictures, epochs * pictures, seconds, "pictures"))

    return told
