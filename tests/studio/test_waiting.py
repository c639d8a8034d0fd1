"""Features of images without a class: some at a time, once for each file, none for what cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from headstart.data.image_set import Sample
from headstart.features.matrix import Features
from headstart.studio.project import Picture
from headstart.studio.waiting import Waiting
from headstart.workbench.live_head import LiveHead


class Numbers:
    """A live head whose feature of an image is the number in its name; those named broken cannot be read."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def features_of(self, samples: Sequence[Sample]) -> Features:
        self.asked += [sample.name for sample in samples]
        names = tuple(sample.name for sample in samples if "broken" not in sample.name)
        matrix = np.array([[float(name)] for name in names], dtype=np.float32).reshape(-1, 1)
        return Features(matrix, {"pooled": (0, 1)}, names, names)


def picture(name: str, version: str = "1") -> Picture:
    return Picture(f"id-{name}", f"{name}.png", Sample(Path(f"{name}.png"), name), burst=None, version=version)


def matrix(waiting: Waiting, pictures: Sequence[Picture]) -> list[Any]:
    found = waiting.features(pictures)
    assert found is not None
    assert [one.id for one in found[0]] == list(found[1].names)
    return list(found[1].matrix[:, 0])


def test_features_come_in_steps_and_only_once() -> None:
    numbers, pictures = Numbers(), [picture(str(i)) for i in range(40)]
    waiting = Waiting(cast("LiveHead", numbers))
    assert waiting.features(pictures) is None

    assert waiting.step(pictures)
    assert 0 < waiting.done(pictures) < 40
    assert matrix(waiting, pictures) == list(range(waiting.done(pictures)))
    while waiting.step(pictures):
        pass

    assert matrix(waiting, pictures) == list(range(40))
    assert sorted(numbers.asked, key=int) == [str(i) for i in range(40)]
    assert matrix(waiting, pictures[30:]) == list(range(30, 40))  # the others have got a class


def test_a_changed_file_is_read_again_and_a_broken_one_is_left_out() -> None:
    numbers = Numbers()
    waiting = Waiting(cast("LiveHead", numbers))
    pictures = [picture("1"), picture("broken"), picture("3")]
    assert waiting.step(pictures)

    assert matrix(waiting, pictures) == [1, 3]
    assert waiting.done(pictures) == 3
    assert not waiting.step(pictures)
    assert waiting.step([*pictures, picture("1", version="2")])
    assert numbers.asked == ["1", "broken", "3", "1"]
