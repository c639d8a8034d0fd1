"""Attribution: maps against literal forms, planted evidence found, checks that fail where they must, no trace."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.flip_tta import FlipTTA
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, DataError, RecipeError
from headstart.inspection.attribution.attribution import explain, hottest
from headstart.inspection.attribution.explanation import SimilarImage, where_is
from headstart.inspection.attribution.saliency import grad_cam, integrated_gradients, last_maps, occlusion, saliency
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model
from reference import saliency as literal


class Small(nn.Module):
    """Two convolutions and a top; the second half alone takes maps to logits."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.ReLU()
        )
        self.top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(self.body(x))


class RedPatch(nn.Module):
    """Class 1 is said by the red of the upper left of the picture alone."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 1, 3, padding=1, bias=False)
        self.maps.weight.data.zero_()
        self.maps.weight.data[0, 0, 1, 1] = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        red = self.maps(x)[:, 0, 2:8, 2:8].mean((1, 2))
        return torch.stack([torch.zeros_like(red), 8 * red], 1)


def test_grad_cam_is_the_literal_one():
    network, pixels = Small().eval(), torch.randn(1, 3, 20, 20)
    expected = literal.grad_cam(network.body, network.top, pixels, 2)
    assert expected.max() > 0
    np.testing.assert_allclose(grad_cam(inspected_model(network), pixels, 2, "body").heat, expected, atol=1e-6)


def test_grad_cam_of_a_classifier_goes_through_its_scaled_head(small_classifier):
    model = small_classifier(True)
    subject, pixels = inspected_model(model), torch.randn(1, 3, 64, 64)
    stage = model.backbone.spec.stages[-1]
    module = subject.network.get_submodule(stage.module)
    kept: list[torch.Tensor] = []
    hook = module.register_forward_hook(lambda _m, _i, out: kept.append(out))
    logit = subject.logits(pixels.clone().requires_grad_())[0, 1]
    hook.remove()
    (gradient,) = torch.autograd.grad(logit, kept[0])
    total = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).clamp_min(0)
    expected = nn.functional.interpolate(total.detach(), size=(64, 64), mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(grad_cam(subject, pixels, 1, stage.name).heat, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients", "occlusion"])
def test_with_mirror_images_a_map_shows_what_speaks_in_both(method, small_classifier, monkeypatch):
    monkeypatch.setattr(
        "headstart.inspection.attribution.saliency.STEPS", (10, 200)
    )  # else each integral takes its own number
    plain = small_classifier(True)
    model = plain.copy()
    model.backbone.flip_tta = FlipTTA(model.backbone.widths, unit=True)
    model = Classifier(model.backbone, replace(model.head, flip_tta=True), replace(model.card, flip_tta=True))
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    stage, both, alone = plain.backbone.stages[-1], inspected_model(model), inspected_model(plain)

    def answers(of):
        with torch.no_grad():
            return (alone.logits(of) + alone.logits(of.flip(-1))) / 2

    assert torch.allclose(both.tta_logits(pixels), answers(pixels), atol=1e-4)
    assert torch.allclose(both.logits(pixels), alone.logits(pixels), atol=1e-4)
    target = int(answers(pixels).argmax())
    found = saliency(method, both, pixels, target, stage).heat
    most = np.abs(found).max()
    assert most > 0
    if method == "occlusion":
        expected = literal.occlusion(lambda of: float(answers(of)[0, target]), pixels, 10, 5)
        np.testing.assert_allclose(found, expected, atol=1e-3 * most)
        return
    np.testing.assert_allclose(
        saliency(method, both, pixels.flip(-1), target, stage).heat[:, ::-1], found, atol=0.02 * most
    )
    if method == "integrated-gradients":  # linear in the answers
        one, two = (saliency(method, alone, view, target, stage).heat for view in (pixels, pixels.flip(-1)))
        np.testing.assert_allclose(found, (one + two[:, ::-1]) / 2, atol=0.02 * most)


def test_integrated_gradients_of_a_linear_network_are_weight_times_pixel_and_complete():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    pixels = torch.randn(1, 3, 8, 8)
    found = integrated_gradients(inspected_model(network), pixels, 1)
    expected = (network[1].weight.data[1].view(3, 8, 8) * pixels[0]).sum(0)
    np.testing.assert_allclose(found.heat, expected, atol=1e-5)
    assert found.off < 1e-4


def test_where_nothing_differs_from_the_empty_image_nothing_can_be_off():
    (found,) = explain(Small(), torch.zeros(1, 3, 20, 20), methods=("integrated-gradients",), sanity=False)
    assert found.maps[0].off is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_integrated_gradients_take_more_steps_where_few_are_not_complete():
    class Steep(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bend = torch.relu(x.mean((1, 2, 3)) - 0.97) * 100  # all of it happens at the very end of the path
            return torch.stack([bend, -bend], 1)

    subject, pixels = inspected_model(Steep()), torch.ones(1, 3, 8, 8)
    few = integrated_gradients(subject, pixels, 0, coarse=True)
    assert few.off > 0.05
    assert integrated_gradients(subject, pixels, 0).off <= 0.05


@pytest.mark.parametrize(("coarse", "step"), [(False, 1), (True, 3)])
def test_occlusion_is_the_literal_one(coarse, step):
    network, pixels = Small(1).eval(), torch.randn(1, 3, 18, 18)

    def logit(x: torch.Tensor) -> float:
        return float(network(x).detach()[0, 1])

    expected = literal.occlusion(logit, pixels, 3, step)
    found = occlusion(inspected_model(network), pixels, 1, coarse=coarse).heat
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients", "occlusion"])
def test_planted_evidence_is_found_and_hiding_it_costs_the_answer(method):
    pixels = torch.zeros(1, 3, 24, 24)
    pixels[0, 0, 2:8, 2:8] = 1.0
    pixels[0, 1:, 14:22, 14:22] = 2.0  # bright, and of no meaning
    (found,) = explain(RedPatch(), pixels, methods=(method,), class_name="class 1")
    (one,) = found.maps
    assert found.asked == found.answer == "class 1"
    assert where_is(one.heat) == "at the upper left"
    assert found.probability == pytest.approx(1 / (1 + np.exp(-8)), abs=1e-6)
    assert one.hidden == pytest.approx(0.5, abs=1e-6)
    assert one.elsewhere > 0.9
    assert "the answer rests on it" in found.interpretation[0]


def test_a_map_that_shuffled_weights_do_not_change_is_said_to_show_the_image_only():
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


def test_shuffled_weights_change_the_maps_of_a_trained_network(small_classifier):
    pixels = torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))  # 9×9 places to compare
    found = explain(small_classifier(True), pixels)
    assert all(abs(one.maps[0].sanity) < 0.5 for one in found)
    assert not any("shuffled" in sentence for one in found for sentence in one.interpretation)


def test_an_empty_map_is_said_to_be_empty():
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


@pytest.mark.parametrize(
    ("y", "x", "words"),
    [(1, 1, "at the upper left"), (5, 5, "in the middle"), (9, 5, "at the lower half"), (5, 9, "at the right")],
)
def test_places_are_named_as_one_sees_them(y, x, words):
    heat = np.zeros((11, 11))
    heat[y, x] = 1.0
    assert where_is(heat) == words


def test_between_two_hot_corners_nothing_is_hot():
    heat = np.zeros((14, 14))
    heat[:2, :2], heat[-2:, -2:] = 1.0, 2.0
    assert where_is(heat) == "at the lower right"


def test_training_images_alike_speak_for_or_against_the_answer(small_classifier):
    model = small_classifier(True)
    pixels = torch.rand(1, 3, 64, 64)
    (plain,) = explain(model, pixels, sanity=False)
    others = [name for name in model.classes if name != plain.answer]
    alike = (
        SimilarImage("t/1.png", others[0], 0.9, np.zeros((8, 8, 3), np.uint8)),
        SimilarImage("t/2.png", plain.answer, 0.5),
    )
    (found,) = explain(model, pixels, alike=[alike], sanity=False)
    assert f"1 of the 2 most alike are {plain.answer}. Doubt the answer" in " ".join(found.interpretation)
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert set(found.shares) == set(model.head.stages)
    assert len(found.figure().axes) == 2 + 1 + 1  # image, map, legend, the one training image at hand
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(DataError, match="1 lists"):
        explain(model, pixels, alike=[alike, alike])


def test_it_leaves_no_trace_also_when_it_fails(small_classifier):
    model = small_classifier(False)
    before = {name: value.clone() for name, value in model.backbone.network.state_dict().items()}
    images = InspectedImages(torch.rand(2, 3, 64, 64), ("a.png", "b.png"))
    explain(model, images)
    with pytest.raises(RecipeError, match="class"):
        explain(model, images, class_name="ant")
    network = Small().train()
    explain(network, torch.rand(1, 3, 20, 20), methods=("grad-cam", "integrated-gradients"))
    assert network.training
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())
    for root in (model.backbone.network, network):
        assert not any(
            part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in root.modules()
        )
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.network.state_dict().items())


def test_what_cannot_be_explained_is_refused():
    pixels = torch.rand(1, 3, 8, 8)
    with pytest.raises(RecipeError, match="grad-cam"):
        explain(Small(), pixels, methods=("gradcam",))
    with pytest.raises(BackboneError, match="class scores"):
        explain(load_backbone("random"), torch.rand(1, 3, 32, 32))
    with pytest.raises(BackboneError, match="occlusion"):
        last_maps(inspected_model(nn.Sequential(nn.Flatten(), nn.Linear(192, 2))), pixels)
