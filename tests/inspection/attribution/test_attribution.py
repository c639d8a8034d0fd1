"""Attribution: planted evidence is found, the checks fail where they must, the model is restored."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.errors import BackboneError, RecipeError
from headstart.inspection.attribution.attribution import explain, hottest
from headstart.inspection.attribution.explanation import SimilarImage, where_is
from headstart.inspection.inspected_images import InspectedImages
from small_models import SmallConvolution


class RedPatch(nn.Module):
    """The logit of class 1 is the red of the upper left of the image alone."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 1, 3, padding=1, bias=False)
        self.maps.weight.data.zero_()
        self.maps.weight.data[0, 0, 1, 1] = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        red = self.maps(x)[:, 0, 2:8, 2:8].mean((1, 2))
        return torch.stack([torch.zeros_like(red), 8 * red], 1)


@pytest.mark.slow
def test_an_image_like_the_baseline_has_no_incompleteness():
    (found,) = explain(SmallConvolution(), torch.zeros(1, 3, 20, 20), methods=("integrated-gradients",), sanity=False)
    assert found.maps[0].incompleteness is None
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients", "occlusion"])
def test_planted_evidence_is_found_and_hiding_it_costs_the_prediction(method):
    pixels = torch.zeros(1, 3, 24, 24)
    pixels[0, 0, 2:8, 2:8] = 1.0
    pixels[0, 1:, 14:22, 14:22] = 2.0  # bright, and no evidence
    (found,) = explain(RedPatch(), pixels, methods=(method,), class_name="class 1")
    (one,) = found.maps
    assert found.target == found.predicted == "class 1"
    assert where_is(one.heat) == "at the upper left"
    assert found.probability == pytest.approx(1 / (1 + np.exp(-8)), abs=1e-6)
    assert one.hidden == pytest.approx(0.5, abs=1e-6)
    assert one.elsewhere > 0.9
    assert "the prediction depends on it" in found.interpretation[0]


def test_a_map_that_shuffled_weights_do_not_change_is_reported():
    class NothingLearnt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.maps(x).mean((2, 3))

    pixels = torch.rand(1, 3, 16, 16)
    (found,) = explain(NothingLearnt(), pixels, methods=("grad-cam",))
    assert found.maps[0].sanity == pytest.approx(1.0)
    assert "shuffled weights gives a similar map (rank correlation 1.00)" in " ".join(found.interpretation)


@pytest.mark.slow
def test_shuffled_weights_change_the_maps_of_a_trained_network(small_classifier):
    pixels = torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))  # 9×9 positions to compare
    found = explain(small_classifier(True), pixels)
    assert all(abs(one.maps[0].sanity) < 0.5 for one in found)
    assert not any("shuffled" in sentence for one in found for sentence in one.interpretation)


def test_an_empty_map_is_reported_as_empty():
    (found,) = explain(RedPatch(), -torch.ones(1, 3, 24, 24), methods=("grad-cam",), class_name="class 1")
    assert found.maps[0].hidden is None
    assert "the map is empty" in found.interpretation[0]
    assert where_is(found.maps[0].heat) == "nowhere"
    found.figure()


def test_the_hottest_fifth_is_a_fifth_of_the_squares_by_their_mean():
    heat = np.repeat(np.repeat(np.arange(49.0).reshape(7, 7), 4, 0), 4, 1)
    heat += np.where(np.indices(heat.shape).sum(0) % 2, 30.0, -30.0)  # single pixels say little
    mask = hottest(heat)
    expected = np.repeat(np.repeat(np.arange(49).reshape(7, 7) >= 39, 4, 0), 4, 1)
    np.testing.assert_array_equal(mask, expected)
    assert hottest(-np.ones((28, 28))) is None


@pytest.mark.slow
def test_similar_training_images_of_other_classes_cast_doubt_on_the_prediction(small_classifier):
    model = small_classifier(True)
    pixels = torch.rand(1, 3, 64, 64)
    (plain,) = explain(model, pixels, sanity=False)
    others = [name for name in model.classes if name != plain.predicted]
    similar = (
        SimilarImage("t/1.png", others[0], 0.9, np.zeros((8, 8, 3), np.uint8)),
        SimilarImage("t/2.png", plain.predicted, 0.5),
    )
    found = replace(plain, similar=similar)
    assert f"1 of these 2 are of class {plain.predicted}. The prediction is doubtful" in " ".join(found.interpretation)
    assert sum(found.stage_shares.values()) == pytest.approx(1.0)
    assert set(found.stage_shares) == set(model.head.stages)
    assert len(found.figure().axes) == 2 + 1 + 1  # image, map, legend, the one training image at hand
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.slow
def test_the_model_is_restored_also_after_an_error(small_classifier):
    model = small_classifier(False)
    before = {name: value.clone() for name, value in model.backbone.network.state_dict().items()}
    images = InspectedImages(torch.rand(2, 3, 64, 64), ("a.png", "b.png"))
    explain(model, images)
    with pytest.raises(RecipeError, match="class"):
        explain(model, images, class_name="ant")
    network = SmallConvolution().train()
    explain(network, torch.rand(1, 3, 20, 20), methods=("grad-cam", "integrated-gradients"))
    assert network.training
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())
    for root in (model.backbone.network, network):
        assert not any(
            module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in root.modules()
        )
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.network.state_dict().items())


def test_what_cannot_be_explained_is_refused():
    pixels = torch.rand(1, 3, 8, 8)
    with pytest.raises(RecipeError, match="grad-cam"):
        explain(SmallConvolution(), pixels, methods=("gradcam",))
    with pytest.raises(BackboneError, match="class scores"):
        explain(load_backbone("random"), torch.rand(1, 3, 32, 32))
    with pytest.raises(BackboneError, match="occlusion"):
        explain(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), pixels, methods=("grad-cam",))


def test_a_network_without_feature_maps_is_explained_by_occlusion():
    vectors = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    (found,) = explain(vectors, torch.rand(1, 3, 8, 8), sanity=False)
    assert [one.method for one in found.maps] == ["occlusion"]
    (found,) = explain(SmallConvolution(), torch.rand(1, 3, 20, 20), sanity=False)
    assert [one.method for one in found.maps] == ["grad-cam"]


def test_progress_counts_images_and_is_reported_after_each_map():
    told: list[tuple[int, int]] = []
    explain(SmallConvolution(), torch.rand(3, 3, 20, 20), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (1, 3), (2, 3), (2, 3), (3, 3)]  # each map is made again with shuffled weights
