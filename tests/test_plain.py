"""Plain values: what JSON knows of dataclasses, arrays, paths and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.plain import Plain, fields_of, to_plain


@dataclass(frozen=True)
class Inner(Plain):
    values: tuple[int, ...]


@dataclass(frozen=True)
class Outer(Plain):
    inner: Inner
    share: float


@dataclass(frozen=True)
class More(Plain):
    count: int

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "twice": 2 * self.count}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (3, 3),
        ("ä", "ä"),
        (0.5, 0.5),
        (float("nan"), None),
        (float("-inf"), None),
        ({1: (2, 3)}, {"1": [2, 3]}),
        ({"b", "a"}, ["a", "b"]),
        (Path("a", "b"), str(Path("a", "b"))),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (np.float32(0.5), 0.5),
        (torch.tensor([1, 2]), [1, 2]),
        (Outer(Inner((1, 2)), float("inf")), {"inner": {"values": [1, 2]}, "share": None}),
        ([More(2)], [{"count": 2, "twice": 4}]),
    ],
)
def test_a_value_has_a_plain_form(value: object, plain: object) -> None:
    assert to_plain(value) == plain
    assert type(to_plain(value)) is type(plain)


def test_fields_are_those_of_the_dataclass_alone() -> None:
    assert fields_of(More(2)) == {"count": 2}
    assert Inner((1,)).to_dict() == {"values": [1]}


def test_a_value_without_a_plain_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="object has no plain form"):
        to_plain({"a": object()})
