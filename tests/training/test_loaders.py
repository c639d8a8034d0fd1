"""Loaders are checked before the first epoch, and their generators are seeded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from headstart.errors import TrainingError
from small_loops import loop, points


def test_a_generator_of_the_loader_is_seeded_too() -> None:
    orders = []
    for _ in range(2):
        seen: list[list[float]] = []
        sbs = loop(validation=False)
        data, generator = points(), torch.Generator()
        generator.seed()  # from the operating system
        sbs.set_loaders(DataLoader(data, 8, shuffle=True, generator=generator))
        step = sbs.train_step_fn
        sbs.train_step_fn = lambda x, y, seen=seen, step=step: (seen.append(x[:, 0].tolist()), step(x, y))[1]
        sbs.train(1)
        orders.append(seen)
    assert orders[0] == orders[1]


def test_d16_an_empty_loader_is_an_error_for_training_and_validation_with_and_without_a_length() -> None:
    class Nothing(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(())

    sbs, empty = loop(), DataLoader(points(3), 4, drop_last=True)
    with pytest.raises(TrainingError, match="at least one batch"):
        sbs.set_loaders(empty)
    with pytest.raises(TrainingError, match="validation loader"):
        sbs.set_loaders(DataLoader(points(), 4), empty)
    sbs.set_loaders(DataLoader(Nothing()))
    with pytest.raises(TrainingError, match="training loader"):
        sbs.train(1)


def test_loaders_of_other_classes_or_too_few_outputs_are_errors() -> None:
    named, other = DataLoader(points(), 8), DataLoader(points(), 8)
    named.dataset.classes, other.dataset.classes = ["cat", "dog"], ["dog", "cat"]  # type: ignore[attr-defined]
    sbs = loop()
    with pytest.raises(TrainingError, match="validation images of cat, dog"):
        sbs.set_loaders(named, other)
    named.dataset.classes = ["ant", "bee", "cat"]  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="3 outputs"):
        sbs.set_loaders(named)


@pytest.mark.parametrize("loader", [5, "photos", object()])
def test_what_gives_no_batches_is_refused_when_it_is_set(loader: object) -> None:
    with pytest.raises(TrainingError, match="a training loader that gives batches"):
        loop().set_loaders(loader)
    with pytest.raises(TrainingError, match="a validation loader"):
        loop().set_loaders(DataLoader(points(), 16), loader)
