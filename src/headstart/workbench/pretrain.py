"""pretrain: train the embedded backbone again, on drawn pictures with a teacher; stopped and resumed at any time."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import torch

from headstart import runtime
from headstart.backbones.backbone import load_backbone
from headstart.output_paths import writable_folder
from headstart.pretraining.card import write_card
from headstart.pretraining.gate_result import run_gate
from headstart.pretraining.pretrain import pretrain as run_recipe
from headstart.pretraining.recipe import PretrainingRecipe, recipe_of
from headstart.pretraining.teacher import NAME as TEACHER
from headstart.progress import OnEvent, Progress, print_event
from headstart.public_api import public_api
from headstart.training.records import EpochRecord
from headstart.workbench.events import FilesWritten
from headstart.workbench.session import Session


@public_api
def pretrain(
    recipe: str = "small",
    *,
    out: str | Path = "pretrained",
    weights: str | None = None,
    start: str | Path | None = None,
    gate: str | Path | None = None,
    minutes: float | None = None,
    offline: bool = False,
    on_event: OnEvent | None = print_event,
) -> Path | None:  # eight: each an option of the command
    """Pretrain by a recipe's name into a folder: weights, log, card; a second call continues where the first stopped.

    Args:
        recipe: `proof` (a minute or two), `short` (half an hour), `small` (1.2 hours on two cores: what is shipped) or
            `large` (for a GPU).
        out: folder. weights: file or URL of the teacher, squeezenet1_0; its own source if left out.
        start: folder of a finished pretraining whose weights to start from.
        gate: folder of real image sets to measure the weights on; without it the card has no gate.
        minutes: stop after so many; the next call continues.

    Returns:
        The file of weights; None when it was stopped before the recipe's end.

    Raises:
        RecipeError: there is no such recipe. BackboneError: the teacher's weights are not available.
        TrainingError: the folder belongs to another recipe. DataError: the gate's images are not there.
    """
    session, folder, chosen = Session(on_event=on_event), writable_folder(out, for_model=True), recipe_of(recipe)
    session.notice(f"Drawing {chosen.pictures:,} pictures; {TEACHER} teaches the student on them, in {folder}")
    fetch = session.progress(f"download {TEACHER}", unit="bytes")
    teacher = load_backbone(TEACHER, weights=weights, offline=offline, progress=fetch)
    threads, before = torch.get_num_threads(), None if start is None else Path(start)
    torch.set_num_threads(max(1, runtime.cores() // 2))  # the other cores draw and run the teacher
    try:
        report = _reporter(session, chosen)
        file = run_recipe(chosen, teacher, folder, start=before, minutes=minutes, after_epoch=report)
    finally:
        torch.set_num_threads(threads)
    if file is None:
        session.notice("Stopped before the recipe's end; the same command continues.")
        return None
    result = None
    if gate is not None:
        candidate = load_backbone("embedded", weights=str(file))
        result = run_gate(
            Path(gate), candidate, teacher, on_score=lambda *score: session.notice("{}: {} {:.3f}".format(*score))
        )
    card = write_card(file, teacher, result)
    train = f"headstart train photos --backbone embedded --weights {shlex.quote(str(file))}"
    session.on_event(FilesWritten(folder, (file.name, card.name, "log.json"), train))
    return file


def _reporter(session: Session, recipe: PretrainingRecipe) -> Callable[[EpochRecord], None]:
    seconds = 0.0
    pictures = recipe.batches * recipe.batch_size

    def report(record: EpochRecord) -> None:
        nonlocal seconds
        seconds += record.seconds
        session.on_event(
            Progress(
                step=f"pretrain, loss {record.loss:.4f}",
                done=record.epoch * pictures,
                total=recipe.pictures,
                seconds=seconds,
                unit="pictures",
            )
        )

    return report
