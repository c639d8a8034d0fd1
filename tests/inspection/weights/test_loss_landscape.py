"""Losses per image and re-estimated batch-norm statistics, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headstart.errors import DataError
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model
from headstart.inspection.weights.loss_landscape import loss_of_images, reestimate_batch_norm


def images(count: int = 40) -> InspectedImages:
    pixels = 2 + torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 2
    return InspectedImages(pixels, tuple(map(str, range(count))), labels=labels, classes=("a", "b"))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2)).eval()


def test_losses_are_the_cross_entropy_of_each_image():
    model, data = network(), images()
    losses, correct = loss_of_images(inspected_model(model), data)
    logits = model(data.pixels).double()
    torch.testing.assert_close(losses, F.cross_entropy(logits, data.labels, reduction="none").detach())
    assert torch.equal(correct, logits.argmax(1) == data.labels)


def test_images_without_labels_or_with_other_classes_have_no_loss():
    data = images()
    with pytest.raises(DataError, match="found none"):
        loss_of_images(inspected_model(network()), InspectedImages.of(data.pixels))
    other = InspectedImages(data.pixels, data.names, labels=data.labels, classes=("a", "b", "c"))
    with pytest.raises(DataError, match="labels of 3 other classes"):
        loss_of_images(inspected_model(network()), other)


def test_reestimated_statistics_are_those_of_all_images():
    model, data = network(), images()
    reestimate_batch_norm(inspected_model(model), data)
    torch.testing.assert_close(model[0].running_mean, data.pixels.mean((0, 2, 3)))
    torch.testing.assert_close(model[0].running_var, data.pixels.transpose(0, 1).flatten(1).var(1))
