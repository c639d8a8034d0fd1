"""Saliency: each method against a literal form, with flip TTA, and the stages and weights around them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.flip_tta import FlipTTA
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError
from headstart.inspection.attribution.saliency import (
    ClassOfImage,
    choose_methods,
    grad_cam,
    integrated_gradients,
    last_map_stage,
    occlusion,
    saliency,
    shuffle_weights,
)
from headstart.inspection.inspected_model import inspected_model
from reference import saliency as literal
from small_models import SmallConvolution


def test_grad_cam_is_the_literal_one():
    network, pixels = SmallConvolution().eval(), torch.randn(1, 3, 20, 20)
    expected = literal.grad_cam(network.body, network.head, pixels, 2)
    assert expected.max() > 0
    np.testing.assert_allclose(
        grad_cam(ClassOfImage(inspected_model(network), pixels, 2), "body").heat, expected, atol=1e-6
    )


def test_grad_cam_of_a_classifier_goes_through_its_scaled_head(small_classifier):
    model = small_classifier(True)
    inspected, pixels = inspected_model(model), torch.randn(1, 3, 64, 64)
    stage = model.backbone.spec.stages[-1]
    module = inspected.network.get_submodule(stage.module)
    kept: list[torch.Tensor] = []
    hook = module.register_forward_hook(lambda _m, _i, out: kept.append(out))
    logit = inspected.logits(pixels.clone().requires_grad_())[0, 1]
    hook.remove()
    (gradient,) = torch.autograd.grad(logit, kept[0])
    total = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).clamp_min(0)
    expected = nn.functional.interpolate(total.detach(), size=(64, 64), mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(
        grad_cam(ClassOfImage(inspected, pixels, 1), stage.name).heat, expected, rtol=1e-4, atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients", "occlusion"])
def test_with_flip_tta_a_map_shows_the_evidence_in_both_views(method, small_classifier):
    plain = small_classifier(True)
    model = plain.copy()
    model.backbone.flip_tta = FlipTTA(model.backbone.widths, unit=True)
    model = Classifier(model.backbone, replace(model.head, flip_tta=True), replace(model.card, flip_tta=True))
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    stage, both, alone = plain.backbone.stages[-1], inspected_model(model), inspected_model(plain)

    def mean_logits(views):
        with torch.no_grad():
            return (alone.logits(views) + alone.logits(views.flip(-1))) / 2

    def heat(inspected, views):
        of = ClassOfImage(inspected, views, target)
        # the same number of steps for every integral
        return (integrated_gradients(of, steps=(200,)) if "gradients" in method else saliency(method, of, stage)).heat

    assert torch.allclose(both.tta_logits(pixels), mean_logits(pixels), atol=1e-4)
    assert torch.allclose(both.logits(pixels), alone.logits(pixels), atol=1e-4)
    target = int(mean_logits(pixels).argmax())
    found = heat(both, pixels)
    most = np.abs(found).max()
    assert most > 0
    if method == "occlusion":
        expected = literal.occlusion(lambda views: float(mean_logits(views)[0, target]), pixels, 10, 5)
        np.testing.assert_allclose(found, expected, atol=1e-3 * most)
        return
    np.testing.assert_allclose(heat(both, pixels.flip(-1))[:, ::-1], found, atol=0.02 * most)
    if method == "integrated-gradients":  # linear in the logits
        one, two = (heat(alone, view) for view in (pixels, pixels.flip(-1)))
        np.testing.assert_allclose(found, (one + two[:, ::-1]) / 2, atol=0.02 * most)


def test_integrated_gradients_of_a_linear_network_are_weight_times_pixel_and_complete():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    pixels = torch.randn(1, 3, 8, 8)
    found = integrated_gradients(ClassOfImage(inspected_model(network), pixels, 1))
    expected = (network[1].weight.data[1].view(3, 8, 8) * pixels[0]).sum(0)
    np.testing.assert_allclose(found.heat, expected, atol=1e-5)
    assert found.incompleteness < 1e-4


def test_integrated_gradients_take_more_steps_where_few_are_not_complete():
    class Steep(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bend = torch.relu(x.mean((1, 2, 3)) - 0.97) * 100  # all of it happens at the very end of the path
            return torch.stack([bend, -bend], 1)

    target = ClassOfImage(inspected_model(Steep()), torch.ones(1, 3, 8, 8), 0)
    assert integrated_gradients(target, steps=(10,)).incompleteness > 0.05
    assert integrated_gradients(target).incompleteness <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("coarse", "step"), [(False, 1), (True, 3)])
def test_occlusion_is_the_literal_one(coarse, step):
    network, pixels = SmallConvolution(1).eval(), torch.randn(1, 3, 18, 18)

    def logit(x: torch.Tensor) -> float:
        return float(network(x).detach()[0, 1])

    expected = literal.occlusion(logit, pixels, 3, step)
    found = occlusion(ClassOfImage(inspected_model(network), pixels, 1), coarse=coarse).heat
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_grad_cam_takes_the_last_stage_with_maps():
    assert last_map_stage(inspected_model(SmallConvolution()), torch.rand(1, 3, 20, 20)) == "body"
    with pytest.raises(BackboneError, match="occlusion"):
        last_map_stage(inspected_model(nn.Sequential(nn.Flatten(), nn.Linear(192, 2))), torch.rand(1, 3, 8, 8))


def test_shuffled_weights_are_the_same_numbers_in_another_order():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    before = network[0].weight.detach().clone()
    pixels = torch.rand(4, 3, 12, 12)
    shuffle_weights(inspected_model(network), pixels, seed=0)
    after = network[0].weight.detach()
    assert not torch.equal(after, before)
    assert torch.equal(after.flatten().sort().values, before.flatten().sort().values)
    torch.testing.assert_close(network[1].running_mean, network[0](pixels).mean((0, 2, 3)).detach())


@pytest.mark.parametrize(
    ("methods", "has_maps", "expected"),
    [
        (("auto",), True, ("grad-cam",)),
        (("auto",), False, ("occlusion",)),
        (("all",), True, ("grad-cam", "integrated-gradients", "occlusion")),
        (("all",), False, ("integrated-gradients", "occlusion")),
        (("occlusion", "all"), False, ("occlusion", "integrated-gradients")),
        (("grad-cam",), False, ("grad-cam",)),  # refused later, with its reason
    ],
)
def test_methods_are_those_that_the_network_allows(
    methods: tuple[str, ...], has_maps: bool, expected: tuple[str, ...]
) -> None:
    assert choose_methods(methods, has_maps=has_maps) == expected
