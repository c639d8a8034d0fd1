"""Weight line: losses are those of networks mixed by hand, barriers are where they must be, weights are restored."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, DataError, RecipeError
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.weights.line import weight_line


def images(count: int = 60) -> InspectedImages:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (count,), generator=rng)
    pixels = torch.randn(count, 2, 1, 1, generator=rng) + 2.5 * (labels * 2 - 1)[:, None, None, None]
    return InspectedImages(pixels, tuple(map(str, range(count))), labels=labels, classes=("a", "b"))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))


def trained(seed: int) -> nn.Module:
    model, data = network(seed), images()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(data.pixels), data.labels).backward()
        optimizer.step()
    return model.eval()


def mixed(a: nn.Module, b: nn.Module, share: float) -> nn.Module:
    model = copy.deepcopy(a).eval()
    other = b.state_dict()
    state = {n: (1 - share) * v + share * other[n] if v.is_floating_point() else v for n, v in a.state_dict().items()}
    model.load_state_dict(state)
    return model


def loss(model: nn.Module, data: InspectedImages) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(model(data.pixels).double(), data.labels))


@pytest.mark.slow
def test_losses_are_those_of_networks_mixed_by_hand_and_the_barrier_is_its_formula():
    a, b, data = trained(0), trained(1), images()
    line = weight_line(a, b, data, points=5)
    shares = [0.0, 0.25, 0.5, 0.75, 1.0]
    expected = [loss(mixed(a, b, share), data) for share in shares]
    assert line.losses == pytest.approx(expected, abs=1e-6)
    excess = [e - ((1 - s) * expected[0] + s * expected[-1]) for s, e in zip(shares, expected, strict=True)]
    assert line.barrier == pytest.approx(max(excess), abs=1e-6)
    assert line.barrier_at == shares[int(np.argmax(excess))]
    assert line.gain == pytest.approx(min(expected[0], expected[-1]) - min(expected), abs=1e-6)


@pytest.mark.slow
def test_reestimated_statistics_are_those_of_the_images_at_each_point():
    a, b, data = trained(0), trained(1), images()
    line = weight_line(a, b, data, points=3, reestimate_statistics=True)
    middle = mixed(a, b, 0.5)
    middle[1].momentum = None  # the mean over batches since the reset, here of one
    middle[1].reset_running_stats()
    middle.train()
    with torch.no_grad():
        middle(data.pixels)
    assert line.losses[1] == pytest.approx(loss(middle.eval(), data), abs=1e-5)


def test_permuted_channels_give_the_same_network_behind_a_barrier():
    a, data = trained(0), images()
    order = torch.tensor([3, 4, 5, 0, 1, 2])
    b = copy.deepcopy(a)
    with torch.no_grad():
        for tensor in (b[0].weight, b[0].bias, b[1].weight, b[1].bias, b[1].running_mean, b[1].running_var):
            tensor.copy_(tensor[order])
        b[4].weight.copy_(b[4].weight[:, order])
    line = weight_line(a, b, data)
    assert line.losses[0] == pytest.approx(line.losses[-1], abs=1e-6)
    assert line.barrier > 2 * line.barrier_error > 0
    assert "Loss barrier between the two networks" in line.interpretation[0]


def test_a_convex_loss_has_no_barrier_and_a_better_middle():
    data = images(400)
    a, b = (nn.Sequential(nn.Flatten(), nn.Linear(2, 2)) for _ in range(2))
    with torch.no_grad():
        a[1].weight.copy_(torch.tensor([[-6.0, 3.0], [6.0, -3.0]]))
        b[1].weight.copy_(torch.tensor([[3.0, -6.0], [-3.0, 6.0]]))
        a[1].bias.zero_()
        b[1].bias.zero_()
    line = weight_line(a, b, data)
    assert line.barrier == 0.0
    assert "No loss barrier" in line.interpretation[0]
    assert line.best_at == pytest.approx(0.5, abs=0.11)
    assert "Averaged weights are better" in line.interpretation[1]


@pytest.mark.slow
def test_heads_of_classifiers_are_mixed_as_calibrated_logits(small_classifier):
    one: Classifier = small_classifier(True)
    two: Classifier = small_classifier(True)
    two.head = type(one.head)("ridge", one.head.stages, -one.head.weight, one.head.bias, 0.5, True)
    pixels = torch.rand(4, 3, 64, 64)
    data = InspectedImages(pixels, tuple("abcd"), labels=torch.tensor([0, 1, 2, 0]), classes=one.classes)
    line = weight_line(one, two, data, points=3)
    features = one.backbone.features(pixels).double()
    blocks = [F.normalize(features[:, one.backbone.slices[stage]], dim=1) for stage in one.head.stages]
    weight = torch.from_numpy(0.5 * one.head.weight / 1.7 - 0.5 * one.head.weight / 0.5)
    bias = torch.from_numpy(0.5 * one.head.bias / 1.7 + 0.5 * one.head.bias / 0.5)
    expected = F.cross_entropy(torch.cat(blocks, 1) @ weight + bias, data.labels)
    assert line.losses[1] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.slow
def test_the_pretrained_head_of_a_backbone_is_interpolated(resnet20):
    labels = torch.arange(12) % 10
    pixels = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    data = InspectedImages(pixels, tuple(map(str, range(12))), labels=labels, classes=tuple("abcdefghij"))
    line = weight_line(resnet20(1.0), resnet20(3.0), data, points=3)
    expected = [loss(resnet20(scale).network, data) for scale in (1.0, 2.0, 3.0)]
    assert line.losses == pytest.approx(expected, rel=1e-5)
    assert line.losses[2] > line.losses[0] + 0.1


@pytest.mark.slow
def test_weights_are_restored_also_after_an_error():
    a, b = trained(0).train(), trained(1).train()
    before = [copy.deepcopy(model.state_dict()) for model in (a, b)]
    line = weight_line(a, b, images(), points=3, reestimate_statistics=True)
    json.dumps(line.to_dict(), allow_nan=False)
    assert [axes.get_title(loc="left") for axes in line.figure().axes] == ["Loss", "Accuracy"]
    assert "3 points" in line.description
    with pytest.raises(DataError, match="labels"):
        weight_line(a, b, images().pixels)
    with pytest.raises(DataError, match="classes"):
        weight_line(a, b, replace(images(), classes=("cat", "dog", "fox")))  # two columns without names
    for model, state in zip((a, b), before, strict=True):
        assert model.training
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_from_one_image_nothing_is_concluded_and_its_values_are_json():
    line = weight_line(trained(0), trained(1), images(1), points=3)
    assert line.interpretation == ("One image is too few to separate a barrier or a better point from noise.",)
    values = json.loads(json.dumps(line.to_dict(), allow_nan=False))
    assert (values["barrier_error"], values["gain_error"]) == (None, None)
    assert values["losses"] == list(line.losses)


@pytest.mark.slow
def test_statistics_are_mentioned_only_where_there_are_some_with_a_hint_to_copy():
    permuted = [nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(2)]
    with torch.no_grad():
        for one, order in zip(permuted, ([0, 1, 2, 3], [2, 3, 0, 1]), strict=True):
            signs = torch.tensor([1.0, 1.0, -1.0, -1.0])[order]
            one[1].weight.copy_(signs[:, None].expand(4, 2))
            one[3].weight.copy_(torch.stack([-signs, signs]))
            one[1].bias.zero_()
            one[3].bias.zero_()
    plain = weight_line(*permuted, images(), points=3)
    assert plain.interpretation[0].startswith("Loss barrier between the two networks")
    assert "statistics" not in plain.interpretation[0]
    normed = replace(plain, batch_norms=1)
    assert "batch-norm statistics interpolated" in normed.interpretation[0]
    assert "weight_line(..., reestimate_statistics=True)" in normed.interpretation[0]
    assert weight_line(trained(0), trained(1), images(), points=3).batch_norms == 1


@pytest.mark.slow
def test_networks_without_a_line_between_them_are_refused(small_classifier):
    a = trained(0)
    with pytest.raises(RecipeError, match="three points"):
        weight_line(a, a, images(), points=2)
    with pytest.raises(BackboneError):
        weight_line(a, nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), images())
    with pytest.raises(BackboneError, match="heads"):
        weight_line(small_classifier(True), small_classifier(True).backbone, images())
