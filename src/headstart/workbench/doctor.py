"""doctor: best practices checked on a backbone by its name, a classifier file, or any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.optim import Optimizer

from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import Rules
from headstart.best_practices.doctor import doctor as examine
from headstart.progress import OnEvent, print_event
from headstart.training.stepbystep import StepByStep
from headstart.workbench.open_model import Named, file_of, images_for, open_model
from headstart.workbench.session import Session


def doctor(
    model: Named,
    *,
    source: str | Path | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    weights: str | None = None,
    offline: bool = False,
    rules: Rules | None = None,
    on_event: OnEvent | None = print_event,
) -> Diagnosis:  # nine: each is one thing that some rules need and nobody has to give
    """Check best practices; rules that lack an input are listed as not checked.

    Args:
        model: a backbone's name or `timm:NAME`, a classifier file or the folder of a run, a loaded model, or a
            StepByStep, whose optimizer and batch size are taken where none are given.
        source: images that it is for, a folder or a set with classes; for a plain module pass pixels to
            `headstart.best_practices.doctor.doctor` instead.
        optimizer: one or several that train it.
        batch_size: images per training step. steps: of the training to come.
        weights: file or URL, for a name. offline: never use the network.
        rules: which to check, by name or as marked with `register_rule`; None: all.

    Raises:
        BackboneError: the name is unknown, or its weights are not available.
        ClassifierError: the file cannot be opened.
        DataError: there is no image that can be read.
        RecipeError: a number is out of range, a rule is unknown, or images are given for a module that
            does not say how it takes them.
    """
    session = Session(options={"weights": weights, "offline": offline}, on_event=on_event)
    opened = open_model(session, model)
    images = None if source is None else images_for(session, opened, Path(source))
    return examine(
        opened,
        images=images,
        optimizer=model.optimizer if optimizer is None and isinstance(model, StepByStep) else optimizer,
        batch_size=_batch_size(model) if batch_size is None and isinstance(model, StepByStep) else batch_size,
        steps=steps,
        file=file_of(model),
        rules=rules,
    )


def _batch_size(loop: StepByStep) -> int | None:
    """Images in a training step; None where there is no loader, or it does not say."""
    size: object = getattr(loop.train_loader, "batch_size", None)
    return size if isinstance(size, int) else None
