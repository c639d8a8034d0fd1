"""doctor: the rules of the trade, checked on a backbone by its name, a classifier file, or any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.optim import Optimizer

from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import doctor as examine
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.workbench.open_model import Named, file_of, images_for, open_model


def doctor(
    model: Named,
    *,
    source: str | Path | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    weights: str | None = None,
    offline: bool = False,
    on_event: OnEvent = print_event,
) -> Diagnosis:
    """Check the rules of the trade; those that lack an input are listed as not checked.

    Args:
        model: a name of the catalogue or `timm:NAME`, a classifier file or the folder of a run, or a loaded model.
        source: images that it is for, a folder or a set with classes; of a plain module: pass pixels to
            `headstart.best_practices.doctor.doctor` instead.
        optimizer: one or several that train it.
        batch_size: images in a step of training. steps: of the training to come.
        weights: file or URL, for a name. offline: never touch the network.

    Raises:
        BackboneError: the name is unknown, or its weights cannot be had.
        ClassifierError: the file cannot be opened.
        DataError: there is no image that can be read.
        RecipeError: a number is out of range, or images are given for a module that does not say how it takes them.
    """
    file = file_of(model)
    recipe = Recipe(weights=weights, offline=offline)
    opened = open_model(model, recipe, on_event)
    images = None if source is None else images_for(opened, Path(source), recipe, on_event)
    return examine(opened, images=images, optimizer=optimizer, batch_size=batch_size, steps=steps, file=file)
