"""Shortcuts on an image: what they preserve, and when they do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.lab import shortcuts
from headstart.lab.experiment import Experiment


@pytest.fixture(scope="module")
def outcome() -> Experiment:
    return shortcuts.run()


@pytest.mark.slow
def test_the_image_is_visible_only_after_a_block_with_shortcut(outcome: Experiment) -> None:
    assert outcome.holds
    assert outcome.number("correlation with the image after one block").value == pytest.approx(0.6, abs=0.1)
    assert outcome.number("the same without the shortcut").value == pytest.approx(0, abs=0.15)


@pytest.mark.slow
def test_eight_blocks_without_shortcuts_lose_nearly_all_of_it(outcome: Experiment) -> None:
    recovered = {row[:2]: row[3] for row in outcome.tables[0].rows}

    assert recovered[8, "without"] < 0.06
    assert recovered[8, "with"] > 0.2
    assert recovered[1, "without"] > 0.3  # a single block does not destroy it


def test_a_block_with_scale_zero_is_the_identity_to_the_bit(outcome: Experiment) -> None:
    assert outcome.number("scale at zero: largest change of a pixel").value == 0
    assert outcome.number("scale at zero, no shortcut: largest output").value == 0


def test_what_is_recovered_is_the_share_that_least_squares_explain() -> None:
    generator = torch.Generator().manual_seed(0)
    image, out = torch.randn(1, 3, 9, 9, generator=generator), torch.randn(1, 2, 9, 9, generator=generator)

    columns = np.column_stack([*out[0].flatten(1).double().numpy(), np.ones(81)])
    wanted = image[0].flatten(1).double().numpy().T
    left = np.linalg.lstsq(columns, wanted, rcond=None)[1].sum()
    total = ((wanted - wanted.mean(0)) ** 2).sum()
    assert shortcuts._recovered(out, image) == pytest.approx(1 - left / total)


@pytest.mark.slow
def test_pixels_of_small_variance_are_hidden_by_the_branch_and_the_claim_fails() -> None:
    raw = shortcuts.run(standardise=False, seeds=20)

    assert not raw.holds
    assert "correlation with the image after one block" in raw.verdict
