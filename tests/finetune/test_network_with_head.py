"""A backbone under a solved head, as one module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fine_tune_set import backbone, make_head, make_images, scores_of
from headstart.finetune.network_with_head import HeadedNetwork


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_centred_head_gives_the_same_scores_and_no_step_moves_one_by_more_than_their_spread(tmp_path: Path) -> None:
    images = make_images(tmp_path)
    head = make_head(images)
    made = backbone()
    network = HeadedNetwork(made, head.stages, 3).eval()
    network.take(head)
    stored = torch.from_numpy(images.pixels.read(images.rows)[0])
    pixels = made.preprocess.normalise(stored)
    with torch.inference_mode():
        before = network(pixels)
        features = network.features(pixels).clone()
    network.centre(features)
    with torch.inference_mode():
        after = network(pixels)

    assert torch.allclose(after, before, atol=1e-3 * float(before.abs().max()))
    assert np.allclose(network.to_head(1.0).bias, head.bias, atol=1e-4 * np.abs(head.bias).max())
    assert network.step_scales is not None
    weights, biases = network.step_scales
    x = torch.cat([torch.nn.functional.normalize(part, dim=1) for part in features.split(list(network.widths), 1)], 1)
    centred = (x - x.mean(dim=0)).double()
    spread = (centred @ torch.from_numpy(head.weight)).square().mean().sqrt()
    # the worst step: every weight by the step's size, each with the sign that moves the score
    assert float((centred.abs().sum(dim=1) * weights).mean()) == pytest.approx(float(spread), rel=1e-4)
    assert biases == pytest.approx(float(spread), rel=1e-4)


def test_a_head_that_begins_at_zero_has_steps_of_its_features() -> None:
    made = backbone()
    network = HeadedNetwork(made, ("stage3",), 3)
    features = torch.rand(20, made.spec.stage("stage3").width)
    network.centre(features)
    assert network.step_scales is not None
    assert network.step_scales[1] == 1.0
    network.centre(torch.ones_like(features))  # features that do not differ at all
    assert np.isfinite(network.step_scales[0])
