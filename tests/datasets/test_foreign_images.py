"""Pictures of each kind, always the same ones."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.datasets.foreign_images import foreign_images


@pytest.mark.slow
def test_each_kind_is_what_its_name_says_and_the_seed_decides() -> None:
    found, again, other = foreign_images(count=3), foreign_images(count=3), foreign_images(count=3, seed=1)

    assert list(found) == ["noise", "flat colours", "gradients", "shapes", "drawn hands"]
    for name, pictures in found.items():
        assert len(pictures) == 3
        assert all(one.dtype == np.uint8 and one.ndim == 3 and one.shape[2] == 3 for one in pictures)
        assert all(np.array_equal(one, two) for one, two in zip(pictures, again[name], strict=True))
        assert not np.array_equal(pictures[0], pictures[1])
        assert not np.array_equal(pictures[0], other[name][0])
    assert np.ptp(found["flat colours"][0], axis=(0, 1)).max() == 0
    steps = np.abs(np.diff(found["gradients"][0].astype(int), axis=1))
    assert 0 < steps.max() <= 3
    assert len(np.unique(found["shapes"][0].reshape(-1, 3), axis=0)) <= 7


def test_hands_are_not_foreign_to_a_classifier_of_hands() -> None:
    assert "drawn hands" not in foreign_images(("Paper", "rock", "scissors"), count=1)
