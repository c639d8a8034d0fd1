"""InspectedModel: logits are the model's own and differentiable, and the model is restored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.flip_tta import FlipTTA
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model


def test_the_children_of_a_module_are_its_stages():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    inspected, pixels = inspected_model(network), torch.randn(2, 3, 8, 8)
    assert inspected.stages == {"0": "0", "1": "1", "2": "2"}
    assert torch.equal(inspected.logits(pixels), network(pixels))


@pytest.mark.parametrize("unit", [True, False])
def test_logits_of_a_classifier_are_those_of_its_head_and_differentiable(unit, small_classifier):
    model = small_classifier(unit)
    pixels = torch.randn(3, 3, 64, 64, requires_grad=True)
    logits = inspected_model(model).logits(pixels)
    slices = model.backbone.slices
    features = model.backbone.features(pixels.detach()).double().numpy()
    blocks = [features[:, slices[stage]] for stage in model.head.stages]
    if unit:
        blocks = [block / np.linalg.norm(block, axis=1, keepdims=True) for block in blocks]
    expected = (np.concatenate(blocks, 1) @ model.head.weight + model.head.bias) / model.head.temperature
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    logits[:, 0].sum().backward()
    assert pixels.grad is not None
    assert float(pixels.grad.abs().sum()) > 0


def test_a_backbone_without_a_pretrained_head_has_no_logits():
    inspected = inspected_model(load_backbone("random"))
    assert not inspected.has_logits
    with pytest.raises(BackboneError, match="class scores"):
        inspected.logits(torch.zeros(1, 3, 32, 32))


def test_eval_mode_restores_modes_and_weights_after_an_error():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(RuntimeError, match="in the middle"):
        _fail_in_eval_mode(network)
    assert network[0].training
    assert not network[1].training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def _fail_in_eval_mode(network: nn.Sequential) -> None:
    with inspected_model(network).eval_mode(weights=True):
        assert not network[0].training
        network[0].weight.data.zero_()
        raise RuntimeError("in the middle")


def test_labels_become_columns_in_the_order_of_the_models_classes(small_classifier):
    logits, labels = torch.zeros(3, 3), torch.tensor([0, 1, 1])
    images = InspectedImages(torch.zeros(3, 3, 4, 4), tuple("abc"), labels=labels, classes=("bees", "ants"))
    assert inspected_model(small_classifier(True)).targets(images, logits).tolist() == [1, 0, 0]
    unnamed = inspected_model(nn.Linear(2, 2))
    assert unnamed.targets(images, logits[:, :2]).tolist() == [0, 1, 1]
    assert unnamed.targets(images, logits) is None  # three columns, two classes
    assert unnamed.targets(replace(images, labels=None), logits[:, :2]) is None


def test_flip_tta_averages_both_views(small_classifier):
    model, pixels = small_classifier(True), torch.rand(2, 3, 64, 64)
    backbone = model.copy().backbone
    backbone.flip_tta = FlipTTA(backbone.widths, unit=True)
    flipping = Classifier(backbone, replace(model.head, flip_tta=True), replace(model.card, flip_tta=True))
    plain, both = inspected_model(model), inspected_model(flipping)
    with torch.no_grad():
        expected = (plain.logits(pixels) + plain.logits(pixels.flip(-1))) / 2
        torch.testing.assert_close(both.tta_logits(pixels), expected)
        torch.testing.assert_close(plain.tta_logits(pixels), plain.logits(pixels))


class Wrapped(nn.Module):
    """A linear layer whose logits come in some form."""

    def __init__(self, form):
        super().__init__()
        self.fc, self.form = nn.Linear(3, 2), form

    def forward(self, pixels):
        return self.form(self.fc(pixels.mean((2, 3))))


@dataclass
class Answer:
    logits: torch.Tensor


@pytest.mark.parametrize(
    "form",
    [
        lambda logits: {"logits": logits, "features": logits * 2},
        lambda logits: {"scores": logits},
        lambda logits: [logits],
        Answer,
    ],
)
def test_logits_are_found_in_an_output_of_any_form(form):
    network, pixels = Wrapped(form), torch.randn(4, 3, 8, 8)
    assert torch.equal(inspected_model(network).logits(pixels), network.fc(pixels.mean((2, 3))))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (lambda logits: [logits, logits], "a list of 4×2, 4×2"),
        (lambda logits: logits.sum(), "a Tensor of one number"),
        (lambda logits: logits.detach().numpy(), "a ndarray"),
        (lambda logits: None, "a NoneType"),
        (lambda logits: logits.argmax(1), "a Tensor of 4"),
    ],
)
def test_an_output_that_is_no_class_scores_is_told(form, said):
    with pytest.raises(BackboneError, match=said):
        inspected_model(Wrapped(form)).logits(torch.randn(4, 3, 8, 8))
