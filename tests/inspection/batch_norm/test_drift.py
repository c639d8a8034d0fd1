"""Batch-norm drift against literal sums and closed forms: none where there is none, a planted one exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from headstart.backbones.backbone import load_backbone
from headstart.errors import BackboneError
from headstart.inspection.batch_norm.drift import batch_norm_drift
from headstart.inspection.inspected_images import InspectedImages
from reference.batch_norm_drift import literal_drift, maps_of
from smooth_images import settled, smooth_images, two_norms


def test_drift_equals_sums_written_out_and_integrated_densities():
    model = two_norms()
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.2, 3.0)
    pixels = smooth_images(7)
    found = batch_norm_drift(model, pixels).layers[0]
    shift, ratio, divergence = literal_drift(
        maps_of(model[0], pixels), model[1].running_mean, model[1].running_var, model[1].eps
    )
    np.testing.assert_allclose(found.shift, shift, atol=1e-5)
    np.testing.assert_allclose(found.log_variance, ratio, atol=1e-5)
    np.testing.assert_allclose(found.divergence, divergence, rtol=1e-4, atol=1e-6)


def test_an_affine_change_of_the_pixels_shows_in_the_first_batch_norm_exactly():
    pixels = smooth_images(60)
    model = settled(pixels)
    a, b = 1.7, -0.4
    found = batch_norm_drift(model, a * pixels + b).layers[0]
    mean, variance = model[1].running_mean.double(), model[1].running_var.double()
    expected = (a - 1) * mean + b * model[0].weight.sum((1, 2, 3)).double()
    np.testing.assert_allclose(found.shift, (expected / variance.sqrt()).detach().numpy(), atol=1e-4)
    np.testing.assert_allclose(found.log_variance, 2 * np.log(a), atol=1e-3)


def test_images_that_the_statistics_come_from_do_not_drift():
    pixels = smooth_images(70)
    for layer in batch_norm_drift(settled(pixels), pixels).layers:
        assert layer.typical_shift < 1e-5
        assert layer.score < layer.floor


@pytest.mark.slow
def test_other_images_of_the_same_kind_stay_at_the_floor_and_brighter_ones_rise_above_it():
    model = settled(smooth_images(3000))
    scores, shifts = [], []
    for brightness in (0.0, 0.5, 1.0, 2.0):
        layer = batch_norm_drift(model, smooth_images(100, seed=1) + brightness).layers[0]
        scores.append(layer.score / layer.floor)
        shifts.append(layer.typical_shift)
    assert scores[0] < 1.5
    assert scores[-1] > 3
    assert shifts == sorted(shifts)


@pytest.mark.slow
def test_the_floor_falls_with_the_number_of_images_not_of_pixels():
    model = settled(smooth_images(500))
    few, many = (batch_norm_drift(model, smooth_images(n, seed=2)).layers[0].shift_floor for n in (25, 400))
    assert 2.5 < few / many < 6.5  # √16 = 4


def test_means_far_from_zero_do_not_swallow_the_variance():
    model = nn.Sequential(nn.BatchNorm2d(3)).eval()
    pixels = smooth_images(10) * 0.01 + 200
    expected = pixels.double().var((0, 2, 3), correction=0) + 1e-5
    found = batch_norm_drift(model, pixels).layers[0]
    np.testing.assert_allclose(np.exp(found.log_variance) * (1 + 1e-5), expected.numpy(), rtol=1e-3)


def test_the_worst_channel_names_the_images_that_take_it_there():
    model = settled(smooth_images(50))
    pixels = smooth_images(9, seed=3)
    pixels[4] += 30
    names = tuple("abcdefghi")
    worst = batch_norm_drift(model, InspectedImages(pixels, names)).worst[0]
    assert worst.names[0] == "e"
    assert worst.images[0] == 4


def test_batches_and_a_batch_norm_that_runs_twice_are_summed_up():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x) + self.norm(3 * x)

    pixels = smooth_images(70)
    found = batch_norm_drift(Twice().eval(), pixels).layers
    both = torch.cat([pixels, 3 * pixels]).double()
    assert len(found) == 1
    np.testing.assert_allclose(found[0].shift, both.mean((0, 2, 3)).numpy(), atol=1e-4)
    np.testing.assert_allclose(np.exp(found[0].log_variance), both.var((0, 2, 3), correction=0).numpy(), rtol=1e-3)


def test_torchvisions_frozen_batch_norm_is_included():
    assert [
        layer.layer for layer in batch_norm_drift(nn.Sequential(FrozenBatchNorm2d(3)), smooth_images(3)).layers
    ] == ["0"]


def test_a_network_without_batch_norm_is_not_checkable():
    found = batch_norm_drift(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True)), smooth_images(3)
    )
    assert found.layers == ()
    assert "Not checkable" in found.interpretation[0]
    assert found.figure().axes == []
    assert found.tables == ()


@pytest.mark.slow
def test_a_classifier_with_prepared_images_gets_its_preprocessing_checked(small_classifier):
    model = small_classifier(True)
    prepared = torch.randint(0, 256, (6, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = InspectedImages(model.backbone.preprocess.normalise(prepared), tuple("abcdef"), prepared)
    found = batch_norm_drift(model, images)
    assert found.check is not None
    assert found.check.layer == found.layers[0].layer == "stem.bn"
    assert set(found.thumbnails) == {name for one in found.worst for name in one.names}
    json.dumps(found.to_dict(), allow_nan=False)
    assert len(found.figure().axes) > 2
    augmented = InspectedImages(torch.randn(6, 3, 96, 96), tuple("abcdef"), prepared)
    assert batch_norm_drift(model, augmented).check.verdict == "not checkable"


def test_it_leaves_no_trace_also_when_it_fails():
    model = two_norms().train()
    model[4].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch_norm_drift(model, smooth_images(4))
    with torch.no_grad():
        model[3].bias.fill_(float("inf"))
    before["3.bias"] = model[3].bias.clone()
    with pytest.raises(BackboneError, match="finite"):
        batch_norm_drift(model, smooth_images(4))
    assert model[1].training
    assert not model[4].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@pytest.mark.slow
def test_true_statistics_find_ants_and_bees_similar_and_hands_of_another_domain(test_data):
    from headstart.data.image_set import scan
    from headstart.data.images import open_image

    weights = test_data / "weights" / "mobilenet_v2_035_imagenet_features.safetensors"
    backbone = load_backbone("mobilenet_v2_035", weights=str(weights))
    scores = {}
    for name in ("hymenoptera", "rps_photos"):
        paths = [sample.path for sample in scan(test_data / name).samples][::12]
        prepared = torch.stack([backbone.preprocess.prepare(open_image(path).rgb) for path in paths])
        drift = batch_norm_drift(backbone, backbone.preprocess.normalise(prepared))
        scores[name] = float(np.median([layer.score for layer in drift.layers]))
    assert scores["hymenoptera"] < 0.1 < 0.2 < scores["rps_photos"]
