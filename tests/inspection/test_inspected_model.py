"""What a look is told of a model: the same logits as the model's own, gradients, and no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.errors import BackboneError, DataError
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model


def test_a_module_stands_for_itself_and_its_children_are_its_stages():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    subject, pixels = inspected_model(network), torch.randn(2, 3, 8, 8)
    assert subject.stages == {"0": "0", "1": "1", "2": "2"}
    assert torch.equal(subject.logits(pixels), network(pixels))


@pytest.mark.parametrize("unit", [True, False])
def test_logits_of_a_classifier_are_those_of_its_head_and_let_gradients_through(unit, small_classifier):
    model = small_classifier(unit)
    pixels = torch.randn(3, 3, 64, 64, requires_grad=True)
    logits = inspected_model(model).logits(pixels)
    slices = model.backbone.slices
    features = model.backbone.features(pixels.detach()).double().numpy()
    parts = [features[:, slices[stage]] for stage in model.head.stages]
    if unit:
        parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    expected = (np.concatenate(parts, 1) @ model.head.weight + model.head.bias) / model.head.temperature
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    logits[:, 0].sum().backward()
    assert pixels.grad is not None
    assert float(pixels.grad.abs().sum()) > 0


def test_a_backbone_without_a_top_has_no_logits():
    subject = inspected_model(load_backbone("random"))
    assert not subject.has_logits
    with pytest.raises(BackboneError, match="class scores"):
        subject.logits(torch.zeros(1, 3, 32, 32))


def test_looking_puts_modes_and_weights_back_when_it_fails():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(RuntimeError, match="in the middle"):
        _fail_while_looking(network)
    assert network[0].training
    assert not network[1].training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(0, 3, 4, 4),
        torch.zeros(3, 4, 4),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.full((1, 3, 4, 4), float("nan")),
    ],
)
def test_what_is_no_batch_of_pixels_is_refused(pixels):
    with pytest.raises(DataError):
        InspectedImages.of(pixels)


def test_taking_some_images_keeps_all_that_belongs_to_them():
    images = InspectedImages(
        torch.arange(4.0).reshape(4, 1, 1, 1), tuple("abcd"), labels=torch.tensor([0, 1, 0, 1]), classes=("x", "y")
    )
    some = images.take(torch.tensor([3, 0]))
    assert some.names == ("d", "a")
    assert some.labels.tolist() == [1, 0]
    assert some.pixels.flatten().tolist() == [3.0, 0.0]
    assert [len(batch) for batch in images.batches(3)] == [3, 1]


def _fail_while_looking(network: nn.Sequential) -> None:
    with inspected_model(network).eval_mode(weights=True):
        assert not network[0].training
        network[0].weight.data.zero_()
        raise RuntimeError("in the middle")
