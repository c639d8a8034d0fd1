"""Comparisons say what was expected and found."""

from __future__ import annotations

import pytest
import torch

from headstart.lab.exercises.comparison import Wrong, named, same, true


@pytest.mark.parametrize("found", [torch.zeros(2), torch.tensor([1.0, float("nan"), 3.0]), "text", None])
def test_what_is_not_the_expected_is_wrong(found: object) -> None:
    with pytest.raises(Wrong, match="expected"):
        same(found, torch.tensor([1.0, 2.0, 3.0]), "numbers")


def test_the_right_value_passes() -> None:
    same(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.00001]), "numbers")
    true(True, "a", "b")
    assert named({"f": len}, "f") is len
    with pytest.raises(Wrong, match="found none"):
        named({"f": 3}, "f")
