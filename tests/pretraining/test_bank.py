"""The bank: the same seed gives the same bits, every kind is as frequent as the others."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.pretraining.bank import SIDES, SILHOUETTE_KINDS, TEXTURE_SIDE, draw_bank
from headstart.pretraining.textures import TEXTURE_KINDS
from pretraining.made_bank import small_bank


@pytest.mark.slow
def test_the_same_seed_draws_the_same_bits_and_another_seed_others() -> None:
    first, again = (draw_bank(1, silhouettes=2, textures=1) for _ in range(2))
    other = small_bank(2)

    assert all(np.array_equal(a, b) for a, b in zip(first.silhouettes, again.silhouettes, strict=True))
    assert np.array_equal(first.textures, again.textures)
    assert not np.array_equal(first.silhouettes[0][:2], other.silhouettes[0][:2])


@pytest.mark.slow
def test_every_kind_is_as_frequent_as_the_others() -> None:
    bank = small_bank()

    assert np.bincount(bank.silhouette_kinds).tolist() == [4] * len(SILHOUETTE_KINDS)
    assert np.bincount(bank.texture_kinds).tolist() == [1] * len(TEXTURE_KINDS)
    assert [drawn.shape for drawn in bank.silhouettes] == [(12, 2, side, side) for side in SIDES]
    assert bank.textures.shape == (6, 3, TEXTURE_SIDE, TEXTURE_SIDE)
