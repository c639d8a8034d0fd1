"""Settings of a fine-tuning: unknown words and impossible combinations are errors."""

from __future__ import annotations

import pytest

from headstart.errors import TrainingError
from headstart.finetune.settings import FineTuneSettings


def test_an_unknown_word_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(TrainingError, match="frozen, recalibrated, live"):
        FineTuneSettings(batch_norm="thawed")
    with pytest.raises(TrainingError, match="one-cycle, cosine"):
        FineTuneSettings(schedule="linear")


def test_wise_averages_need_a_solved_head_at_the_start() -> None:
    wise = FineTuneSettings(average="wise")
    wise.check_strategy("probe-then-full")
    wise.check_strategy("last-stage")
    with pytest.raises(TrainingError, match="head starts at zero"):
        wise.check_strategy("full")


def test_mixed_images_need_pixels() -> None:
    mixed = FineTuneSettings(mix="mixup")
    mixed.check_strategy("full")
    with pytest.raises(TrainingError, match="cached activations"):
        mixed.check_strategy("last-stage")
