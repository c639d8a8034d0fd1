"""doctor: best practices checked on a backbone by its name, a classifier file, or any network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset

from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import Rules
from headstart.best_practices.doctor import doctor as examine
from headstart.best_practices.examination import Batch, Loss
from headstart.data.python_source import Source
from headstart.preserve import keep_random, preserve
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.training.batch import unpack
from headstart.training.loaders import generators_of
from headstart.training.stepbystep import StepByStep
from headstart.workbench.open_model import Named, file_of, images_for, open_model
from headstart.workbench.session import Session

_SAMPLES = 16  # of a loop's data set: enough to see types, ranges and labels


@public_api
def doctor(
    model: Named,
    *,
    source: Source | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    loss: Loss | None = None,
    batch: Batch | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    weights: str | None = None,
    offline: bool = False,
    rules: Rules | None = None,
    on_event: OnEvent | None = print_event,
) -> Diagnosis:  # eleven: each is one thing that some rules need and nobody has to give
    """Check best practices; rules that lack an input are listed as not checked.

    Args:
        model: a backbone's name or `timm:NAME`, a classifier file or the folder of a run, a loaded model, or a
            StepByStep, whose optimizer, loss, batch size and samples are taken where none are given.
        source: images that it is for, a folder or a set with classes, or in memory as for `inspect`; for a plain
            module pass pixels to `headstart.best_practices.doctor.doctor` instead.
        optimizer: one or several that train it. loss: that training minimises, of outputs and targets.
        batch: inputs and targets of one training step, such as `next(iter(loader))`.
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
    images = None if source is None else images_for(session, opened, source)
    inputs: dict[str, Any] = {"optimizer": optimizer, "loss": loss, "batch": batch, "batch_size": batch_size}
    with ExitStack() as after:
        if isinstance(model, StepByStep):
            own = _inputs_of(model)
            inputs = {name: own[name] if given is None else given for name, given in inputs.items()}
            after.enter_context(preserve(model.model, weights=False))
            model.model.train()  # as each of its steps does, whatever its last validation has left
        return examine(opened, images=images, steps=steps, file=file_of(model), rules=rules, **inputs)


def _inputs_of(loop: StepByStep) -> dict[str, Any]:
    """What a loop knows of its training; None for what it does not."""
    size: object = getattr(loop.train_loader, "batch_size", None)
    return {
        "optimizer": loop.optimizer,
        "loss": loop.loss_fn,
        "batch": _some_samples(loop.train_loader),
        "batch_size": size if isinstance(size, int) else None,
    }


def _some_samples(loader: object) -> Batch | None:
    """A batch of samples from all of a loader's data set; the loader itself draws nothing.

    None where it has no data set of known length, or one that fails: the rules that need a batch are then not checked.
    """
    if not isinstance(loader, DataLoader) or loader.batch_size is None or isinstance(loader.dataset, IterableDataset):
        return None
    restore = keep_random(generators_of(loader))
    try:
        count = len(loader.dataset)  # type: ignore[arg-type]  # one without a length raises
        indices = sorted({int(one) for one in torch.linspace(0, count - 1, min(count, _SAMPLES))})
        inputs, targets = unpack(loader.collate_fn([loader.dataset[index] for index in indices]))
    except Exception:  # a foreign data set may raise anything, and training says so itself
        return None
    finally:
        restore()
    return inputs, targets
