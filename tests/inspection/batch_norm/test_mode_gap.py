"""Stored against batch statistics: the same where they are the same, apart where they are not, and no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import DataError
from headstart.evaluation.intervals import wilson
from headstart.freezing import freeze
from headstart.inspection.batch_norm.mode_gap import mode_gap
from headstart.inspection.inspected_images import InspectedImages


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3)).eval()


def test_statistics_of_the_one_batch_that_is_shown_make_no_difference():
    pixels = torch.randn(20, 3, 8, 8)
    model = network()
    recalibrate_batch_norm(model, lambda: [pixels])
    gap = mode_gap(model, pixels, batch=20)
    assert gap.agreement.value == 1.0
    assert "agree" in gap.interpretation[0]


def test_answers_with_batch_statistics_are_those_of_a_network_in_train_mode():
    pixels, model = 3 * torch.randn(16, 3, 8, 8) + 1, network()
    with torch.no_grad():
        labels = nn.Sequential(*model).train()(pixels).argmax(1)
    model = network()
    images = InspectedImages(pixels, tuple(map(str, range(16))), labels=labels, classes=("a", "b", "c"))
    gap = mode_gap(model, images, batch=16)
    with torch.no_grad():
        expected = (model(pixels).argmax(1) == labels).double().mean()
    assert gap.batched.value == 1.0
    assert gap.stored == gap.agreement == wilson(round(float(expected) * 16), 16)
    assert gap.agreement.value < 1
    assert str(gap.stored) in gap.interpretation[1]
    assert gap.gain.difference.value == pytest.approx(1 - float(expected))
    assert gap.tables[0].rows[1][1:] == (gap.stored.value, gap.stored.low, gap.stored.high)
    assert len(gap.figure().axes) == 1


@pytest.mark.parametrize(
    ("count", "size", "parts"),
    [(150, 32, [32, 32, 32, 32, 22]), (65, 32, [32, 33]), (33, 32, [33]), (20, 32, [20]), (5, 2, [2, 3])],
)
def test_batches_are_as_large_as_it_says_and_a_last_one_alone_joins_the_one_before(count, size, parts):
    model, seen = network(), []
    model[1].register_forward_pre_hook(lambda norm, given: seen.append(len(given[0])) if norm.training else None)
    gap = mode_gap(model, torch.randn(count, 3, 8, 8), batch=size)
    assert seen == parts
    assert gap.batch == parts[0]
    assert f"those of {parts[0]} images" in gap.title


@pytest.mark.parametrize(("few", "many"), [(3, 40)])
def test_one_is_called_better_only_beyond_chance(few: int, many: int):
    """Statistics of the batch undo a shift that turns all predictions: with few images that may be luck."""
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2, affine=False)).eval()
    model[1].running_mean.copy_(torch.tensor([9.0, 0.0]))

    def gap_of(count: int):
        labels = torch.arange(2 * count) % 2
        pixels = nn.functional.one_hot(labels, 2).float().reshape(-1, 2, 1, 1)
        names = tuple(map(str, range(len(labels))))
        return mode_gap(model, InspectedImages(pixels, names, labels=labels, classes=("a", "b")), batch=2 * count)

    assert "neither is better" in gap_of(few).interpretation[1]
    found = gap_of(many)
    assert found.stored.value == 0.5
    assert found.batched.value == 1.0
    assert "Recalibrate" in found.interpretation[1]


def test_it_puts_statistics_and_modes_back():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mode_gap(model, torch.randn(5, 3, 8, 8), batch=2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())


def test_a_batch_of_one_is_refused_and_a_network_without_batch_norm_told():
    with pytest.raises(DataError, match="two images"):
        mode_gap(network(), torch.randn(5, 3, 8, 8), batch=1)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert "no batch norm" in mode_gap(plain, torch.randn(3, 3, 2, 2)).interpretation[0]


def test_labels_that_are_no_columns_of_the_network_give_no_accuracy():
    pixels, labels = 3 * torch.randn(16, 3, 8, 8) + 1, torch.arange(16) % 2
    images = InspectedImages(pixels, tuple(map(str, range(16))), labels=labels, classes=("cat", "fox"))
    gap = mode_gap(network(), images, batch=16)  # of three columns that nobody named
    assert gap.stored is None
    assert gap.batched is None
    assert gap.gain is None
    assert not any("Accuracy" in said for said in gap.interpretation)


def test_a_frozen_batch_norm_is_shown_the_batch_too():
    model, pixels = network(), 3 * torch.randn(16, 3, 8, 8) + 1
    expected = mode_gap(model, pixels, batch=16)
    freeze(model)
    gap = mode_gap(model, pixels, batch=16)
    assert gap.agreement == expected.agreement
    assert gap.agreement.value < 1
    assert not any(module.training for module in model.modules())
