"""A backbone under a solved head, as one module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fine_tune_set import backbone, make_head, make_images, scores_of
from headstart.finetune.network_with_head import HeadedNetwork


def test_a_headed_network_with_a_solved_head_answers_as_the_head_does(tmp_path: Path) -> None:
    images = make_images(tmp_path)
    head = make_head(images)
    made = backbone()
    expected = scores_of(made, head, images)
    network = HeadedNetwork(made, head.stages, 3)
    network.take(head)
    stored = torch.from_numpy(images.pixels.read(images.validation_rows)[0])
    with torch.inference_mode():
        answers = network.eval()(made.preprocess.normalise(stored)).numpy()
    assert np.allclose(answers, expected, atol=1e-4 * np.abs(expected).max())
    assert (answers.argmax(1) == expected.argmax(1)).all()
    again = network.to_head(1.0)
    assert np.allclose(again.weight, head.weight, rtol=1e-6)
    assert again.stages == head.stages
