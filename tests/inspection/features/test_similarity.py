"""Similarity: frozen stages are exactly the same, planted changes are found, changed predictions are counted."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, DataError
from headstart.inspection.features.similarity import PredictionChange, similarity
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model


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
    result = similarity(network(), network(), pixels())
    assert all((stage.cka, stage.error) == (1.0, 0.0) for stage in result.stages)
    assert all((layer.rotation, layer.distance, layer.growth) == (0.0, 0.0, 1.0) for layer in result.layers)
    assert result.predictions == PredictionChange(40, 0, 0.0)
    assert "No weight changed." in result.interpretation
    assert "The features of all stages are unchanged (exactly the same)." in result.interpretation


def test_a_change_is_found_where_it_was_made_and_frozen_stages_are_exactly_one_and_zero():
    before, after = network(), network()
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        after[1][0].weight.add_(0.5 * torch.randn(after[1][0].weight.shape, generator=rng))
        after[0][1].running_mean.add_(0.0)
    result = similarity(before, after, pixels())
    assert [stage.cka for stage in result.stages][:1] == [1.0]
    assert result.stages[1].cka < 0.95
    assert [layer.layer for layer in result.layers if not layer.is_unchanged] == ["1.0"]
    assert "2 of 3 layers did not change; 1.0 rotated most" in " ".join(result.interpretation)
    assert "they are unchanged up to 0" in " ".join(result.interpretation)
    assert result.statistics == (0, 2)


def test_frozen_weights_with_moved_statistics_are_reported():
    before, after = network(), network()
    after.train()
    with torch.no_grad():
        after(pixels() + 1)
    result = similarity(before, after, pixels())
    assert result.statistics == (2, 2)
    assert "2 of 2 batch-norm statistics moved, also in frozen layers" in result.interpretation[-1]


def test_recalibration_is_not_called_a_mistake():
    before, after = network(), network()
    recalibrate_batch_norm(after, lambda: [pixels() + 1])
    (found,) = [one for one in similarity(before, after, pixels()).interpretation if "statistics moved" in one]
    assert found.endswith("expected after a recalibration, otherwise freeze them with the layers.")


def test_changed_predictions_are_counted_and_tested():
    model = network().eval()
    with torch.no_grad():
        logits = model(pixels())
        model[4].bias.sub_(logits.mean(0))  # else all images are of one class
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[4].bias.add_(logits.std(0).mean() * torch.tensor([0.8, 0.0, -0.8]))
        was, now = model(pixels()).argmax(1), other(pixels()).argmax(1)
    images = InspectedImages(pixels(), tuple(map(str, range(40))), labels=was, classes=("a", "b", "c"))
    found = similarity(model, other, images).predictions
    assert found.correct_before == 40
    assert 0 < found.changed < 40
    assert found.correct_after == int((was == now).sum())
    assert (found.changed, found.fixed, found.broken) == (40 - found.correct_after, 0, 40 - found.correct_after)
    assert found.p == pytest.approx(binomtest(found.broken, found.broken).pvalue / 2)  # mid-p of the extreme count


def test_labels_of_other_classes_give_no_accuracy():
    model, other = network().eval(), network().eval()
    with torch.no_grad():
        other[4].bias.add_(torch.tensor([9.0, 0.0, -9.0]))
    labels = torch.arange(40) % 2
    images = InspectedImages(pixels(), tuple(map(str, range(40))), labels=labels, classes=("cat", "fox"))
    result = similarity(model, other, images)  # of three columns without names
    assert (result.predictions.correct_before, result.predictions.correct_after) == (None, None)
    assert not any("Accuracy" in sentence for sentence in result.interpretation)


@pytest.mark.slow
def test_labels_count_in_the_order_of_the_classifiers_own_classes(small_classifier):
    model: Classifier = small_classifier(True)
    shown = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        predicted = inspected_model(model).logits(shown).argmax(1)
    theirs = (*model.classes[1:], model.classes[0])
    labels = torch.tensor([theirs.index(model.classes[i]) for i in predicted])
    images = InspectedImages(shown, tuple(map(str, range(12))), labels=labels, classes=theirs)
    assert similarity(model, small_classifier(True), images).predictions.correct_before == 12


def test_a_worse_model_is_reported_when_it_is_more_than_noise():
    result = similarity(network(), network(), pixels())
    change = PredictionChange(100, 20, 0.1, correct_before=90, correct_after=76, fixed=3, broken=17)
    worse = replace(result, predictions=change)
    even = replace(result, predictions=replace(change, correct_after=88, fixed=9, broken=11))
    assert "Training made it worse" in worse.interpretation[0]
    assert "The difference is within noise" in even.interpretation[0]


@pytest.mark.slow
def test_a_backbone_can_be_compared_with_the_classifier_made_from_it(small_classifier):
    model: Classifier = small_classifier(True)
    result = similarity(load_backbone("embedded"), model, torch.rand(12, 3, 64, 64))
    assert result.predictions is None
    assert all(stage.cka == 1.0 for stage in result.stages)
    assert not any(layer.layer == "head" for layer in result.layers)
    with_head = similarity(model, small_classifier(True), torch.rand(12, 3, 64, 64))
    assert with_head.layers[-1].layer == "head"
    assert with_head.predictions is not None


@pytest.mark.slow
def test_pretrained_heads_are_compared_where_both_networks_have_one(resnet20):
    pixels = torch.rand(6, 3, 32, 32)
    moved = [layer for layer in similarity(resnet20(1.0), resnet20(3.0), pixels).layers if not layer.is_unchanged]
    assert [layer.layer for layer in moved] == ["linear"]
    assert moved[0].growth == pytest.approx(3.0)
    for pair in ((resnet20(1.0), resnet20(None)), (resnet20(None), resnet20(1.0))):
        assert all(layer.is_unchanged for layer in similarity(*pair, pixels).layers)


def test_two_architectures_and_too_few_images_are_refused():
    other = network()
    other[1] = nn.Conv2d(8, 7, 3)
    with pytest.raises(BackboneError, match="one architecture"):
        similarity(network(), other, pixels())
    with pytest.raises(DataError, match="4 images"):
        similarity(network(), network(), pixels(3))


def test_it_leaves_no_hook_and_its_values_are_json():
    before, after = network().train(), network().train()
    result = similarity(before, after, pixels())
    assert before.training
    assert after.training
    assert not any(part._forward_hooks for model in (before, after) for part in model.modules())
    json.dumps(result.to_dict(), allow_nan=False)
    assert [axes.get_title(loc="left") for axes in result.figure().axes] == [
        "Similarity of features",
        "0 of 3 layers changed",
    ]
    assert "0 1.00" in result.description
