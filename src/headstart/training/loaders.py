"""Loaders: checked before the first epoch (not empty, the same classes in the same order), and their generators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from headstart.errors import TrainingError


def check_loaders(model: nn.Module, train_loader: Any, val_loader: Any) -> None:
    """Find mistakes that would fail, or silently mislead, in the middle of training; no batch is drawn.

    Raises:
        TrainingError: a loader is empty, the loaders' classes differ, or the model has fewer outputs than classes.
    """
    for loader, name in ((train_loader, "training"), (val_loader, "validation")):
        if loader is not None:
            check_iterable(loader, "set_loaders", f"{name} ")
        length = None if loader is None else length_of(loader)
        if length is not None:
            check_not_empty(length, name)
    classes, others = _classes(train_loader), _classes(val_loader)
    if classes and others and classes != others:
        raise TrainingError(
            expected=f"validation images of {', '.join(classes)}",
            found=", ".join(others),
            where="set_loaders",
            hint="Labels are indices into the list of classes: both loaders need the same list in the same order.",
        )
    outputs = _outputs(model)
    if classes and outputs is not None and 1 < outputs < len(classes):
        raise TrainingError(
            expected=f"{len(classes)} outputs for {', '.join(classes)}",
            found=f"{outputs}",
            where=type(model).__name__,
            hint="Replace the classification head of the network before training.",
        )


def check_iterable(loader: object, where: str, name: str = "") -> None:
    """Refuse what gives no batches at all.

    Raises:
        TrainingError: it cannot be iterated over, or is a text.
    """
    if isinstance(loader, (str, bytes)) or not (hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")):
        raise TrainingError(
            expected=f"a {name}loader that gives batches of (input, target)",
            found=f"{loader!r:.60}",
            where=where,
            hint="DataLoader(TensorDataset(x, y), batch_size=16) is one.",
        )


def length_of(loader: Any) -> int | None:
    """Batches in an epoch; None for a loader that cannot say, such as one over a stream."""
    try:
        return len(loader)
    except TypeError:  # a DataLoader over a stream has __len__ and refuses
        return None


def check_not_empty(batches: int, name: str) -> None:
    """Refuse a loader without batches, which would train nothing and report a mean over nothing.

    Raises:
        TrainingError: there are none.
    """
    if batches == 0:
        raise TrainingError(
            expected=f"a {name} loader with at least one batch",
            found="none",
            where="set_loaders",
            hint="Is the data set empty, smaller than a batch with drop_last=True, or a generator that is used up?",
        )


def last_batch_size(loader: Any) -> int | None:
    """Samples in the last batch of an epoch, where a DataLoader makes the batches; None where only it knows."""
    if not isinstance(loader, DataLoader) or loader.batch_size is None:
        return None
    try:
        samples = len(loader.sampler)  # type: ignore[arg-type]
    except TypeError:  # a stream
        return None
    rest = samples % loader.batch_size
    return loader.batch_size if not rest or loader.drop_last else rest


def batch_of_one(loader: DataLoader[Any]) -> Any:
    """A batch of the first sample that the sampler names, made as the loader makes its batches."""
    index = next(iter(loader.sampler))
    return loader.collate_fn([loader.dataset[index]])


def generators_of(*loaders: object) -> tuple[torch.Generator, ...]:
    """The random number generators that loaders and their samplers own, each once."""
    owners: Iterable[object] = [one for loader in loaders for one in (loader, getattr(loader, "sampler", None))]
    found = {id(g): g for owner in owners if isinstance(g := getattr(owner, "generator", None), torch.Generator)}
    return tuple(found.values())


def _classes(loader: Any) -> tuple[str, ...]:
    """Class names of the loader of an ImageFolder or a similar data set; else none."""
    names = getattr(getattr(loader, "dataset", None), "classes", None)
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def _outputs(model: nn.Module) -> int | None:
    """Outputs of a network whose last layer with weights is linear."""
    layers = [layer for layer in model.modules() if next(layer.parameters(recurse=False), None) is not None]
    return layers[-1].out_features if layers and isinstance(layers[-1], nn.Linear) else None
