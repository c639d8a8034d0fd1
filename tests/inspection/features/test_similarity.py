"""Similarity: frozen parts are exactly the same, planted changes are found in their place, answers are counted."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from scipy.stats import binomtest
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, DataError
from headstart.inspection.features.similarity import Answers, similarity
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model
from headstart.inspection.weights.change import changes


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 6, 3), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def pixels(count: int = 40) -> torch.Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def test_a_network_compared_with_itself_is_exactly_the_same():
    look = similarity(network(), network(), pixels())
    assert all((stage.cka, stage.error) == (1.0, 0.0) for stage in look.stages)
    assert all((layer.rotation, layer.distance, layer.growth) == (0.0, 0.0, 1.0) for layer in look.layers)
    assert look.answers == Answers(40, 0, 0.0)
    assert "Not a single weight changed." in look.interpretation
    assert "The features of all stages are what they were (exactly)." in look.interpretation


def test_a_change_is_found_where_it_was_made_and_frozen_parts_are_exactly_one_and_zero():
    before, after = network(), network()
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        after[1][0].weight.add_(0.5 * torch.randn(after[1][0].weight.shape, generator=rng))
        after[0][1].running_mean.add_(0.0)
    look = similarity(before, after, pixels())
    assert [stage.cka for stage in look.stages][:1] == [1.0]
    assert look.stages[1].cka < 0.95
    assert [layer.layer for layer in look.layers if not layer.is_same] == ["1.0"]
    assert "2 of 3 layers did not change at all; 1.0 turned most" in " ".join(look.interpretation)
    assert "features up to 0 were kept" in " ".join(look.interpretation)
    assert look.statistics == (0, 2)


def test_rotation_and_distance_are_those_of_scipy_and_numpy():
    a, b = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    (one,) = changes({"x.weight": a, "x.bias": a[:, 0, 0, 0]}, {"x.weight": b, "x.bias": b[:, 0, 0, 0]})
    first, second = a.numpy().ravel().astype(float), b.numpy().ravel().astype(float)
    assert one.layer == "x"
    assert one.rotation == pytest.approx(cosine(first, second))
    assert one.distance == pytest.approx(np.linalg.norm(second - first) / np.linalg.norm(first))
    (grown,) = changes({"x.weight": a}, {"x.weight": 3 * a})
    assert (grown.rotation, grown.distance, grown.growth) == pytest.approx((0.0, 2.0, 3.0), abs=1e-7)


def test_frozen_weights_with_moved_statistics_are_pointed_out():
    before, after = network(), network()
    after.train()
    with torch.no_grad():
        after(pixels() + 1)
    look = similarity(before, after, pixels())
    assert look.statistics == (2, 2)
    assert "2 of 2 batch-norm statistics moved although layers did not" in look.interpretation[-1]


def test_recalibration_is_not_called_a_mistake():
    before, after = network(), network()
    recalibrate_batch_norm(after, lambda: [pixels() + 1])
    (said,) = [one for one in similarity(before, after, pixels()).interpretation if "statistics moved" in one]
    assert said.endswith("meant if they were recalibrated, else freeze them with the layers.")


def test_answers_are_counted_and_their_change_tested():
    model = network().eval()
    with torch.no_grad():
        logits = model(pixels())
        model[4].bias.sub_(logits.mean(0))  # else all images are of one class
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[4].bias.add_(logits.std(0).mean() * torch.tensor([0.8, 0.0, -0.8]))
        was, now = model(pixels()).argmax(1), other(pixels()).argmax(1)
    images = InspectedImages(pixels(), tuple(map(str, range(40))), labels=was, classes=("a", "b", "c"))
    answers = similarity(model, other, images).answers
    assert answers.before == 40
    assert 0 < answers.changed < 40
    assert answers.after == int((was == now).sum())
    assert (answers.changed, answers.mended, answers.broken) == (40 - answers.after, 0, 40 - answers.after)
    assert answers.p == pytest.approx(binomtest(answers.broken, answers.broken).pvalue)


def test_labels_that_are_no_columns_of_the_networks_give_no_accuracy():
    model, other = network().eval(), network().eval()
    with torch.no_grad():
        other[4].bias.add_(torch.tensor([9.0, 0.0, -9.0]))
    labels = torch.arange(40) % 2
    images = InspectedImages(pixels(), tuple(map(str, range(40))), labels=labels, classes=("cat", "fox"))
    look = similarity(model, other, images)  # of three columns that nobody named
    assert (look.answers.before, look.answers.after) == (None, None)
    assert not any("Accuracy" in said for said in look.interpretation)


def test_labels_count_in_the_order_of_the_classifiers_own_classes(small_classifier):
    model: Classifier = small_classifier(True)
    shown = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = inspected_model(model).logits(shown).argmax(1)
    theirs = (*model.classes[1:], model.classes[0])
    labels = torch.tensor([theirs.index(model.classes[i]) for i in answers])
    images = InspectedImages(shown, tuple(map(str, range(12))), labels=labels, classes=theirs)
    assert similarity(model, small_classifier(True), images).answers.before == 12


def test_harm_is_said_when_it_is_more_than_chance():
    look = similarity(network(), network(), pixels())
    harmed = replace(look, answers=Answers(100, 20, 0.1, 90, 76, 3, 17))
    even = replace(look, answers=Answers(100, 20, 0.1, 90, 88, 9, 11))
    assert "training did harm" in harmed.interpretation[0]
    assert "no more than chance explains" in even.interpretation[0]


def test_a_backbone_may_be_compared_with_the_classifier_made_from_it(small_classifier):
    model: Classifier = small_classifier(True)
    look = similarity(load_backbone("embedded"), model, torch.rand(12, 3, 64, 64))
    assert look.answers is None
    assert all(stage.cka == 1.0 for stage in look.stages)
    assert not any(layer.layer == "head" for layer in look.layers)
    with_head = similarity(model, small_classifier(True), torch.rand(12, 3, 64, 64))
    assert with_head.layers[-1].layer == "head"
    assert with_head.answers is not None


def test_tops_that_give_the_answers_are_compared_and_a_lone_one_is_left_out(resnet20):
    pixels = torch.rand(6, 3, 32, 32)
    moved = [layer for layer in similarity(resnet20(1.0), resnet20(3.0), pixels).layers if not layer.is_same]
    assert [layer.layer for layer in moved] == ["linear"]
    assert moved[0].growth == pytest.approx(3.0)
    for pair in ((resnet20(1.0), resnet20(None)), (resnet20(None), resnet20(1.0))):
        assert all(layer.is_same for layer in similarity(*pair, pixels).layers)


def test_networks_of_two_kinds_and_too_few_images_are_refused():
    other = network()
    other[1] = nn.Conv2d(8, 7, 3)
    with pytest.raises(BackboneError, match="one kind"):
        similarity(network(), other, pixels())
    with pytest.raises(DataError, match="4 images"):
        similarity(network(), network(), pixels(3))


def test_it_is_an_insight_and_leaves_no_trace():
    before, after = network().train(), network().train()
    look = similarity(before, after, pixels())
    assert before.training
    assert after.training
    assert not any(part._forward_hooks for model in (before, after) for part in model.modules())
    json.dumps(look.to_dict(), allow_nan=False)
    assert [axes.get_title(loc="left") for axes in look.figure().axes] == [
        "Features kept",
        "Layers that moved, 3 of 3 did not",
    ]
    assert "0 1.00" in look.description
