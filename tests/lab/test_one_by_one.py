"""1×1 convolutions: grey as in PIL and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import rgb_to_grayscale

from headstart.datasets.hands import draw_hand
from headstart.figures.panels import ImagePlot
from headstart.lab import one_by_one


def test_grey_is_a_one_by_one_convolution() -> None:
    outcome = one_by_one.run()

    assert outcome.holds
    assert outcome.number("largest difference to PIL's grey").value <= 0.0021  # half a level and its rounding
    assert outcome.number("pixels that change when one is changed").value == 1


def test_the_grey_image_is_torchvisions_up_to_its_rounded_weights() -> None:
    grey = one_by_one.run(size=32).panels[-1]
    assert isinstance(grey, ImagePlot)

    image = torch.from_numpy(np.asarray(draw_hand("scissors", seed=4, size=32), dtype=np.float32) / 255)
    assert grey.pixels == pytest.approx(rgb_to_grayscale(image.permute(2, 0, 1))[0].numpy(), abs=2e-4)


def test_other_weights_make_another_grey_and_the_claim_fails() -> None:
    mean = one_by_one.run(weights=(1 / 3, 1 / 3, 1 / 3))

    assert not mean.holds
    assert "PIL's grey" in mean.verdict
    assert mean.number("largest difference to a linear layer at every pixel").holds
