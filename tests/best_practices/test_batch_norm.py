"""Rules about batch norm: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flawed_networks import (
    Example,
    RuleExamples,
    Twice,
    conv_norm,
    findings,
    half_frozen,
    small,
    trained,
    with_scales,
)
from headstart.best_practices import batch_norm
from headstart.best_practices.doctor import doctor
from headstart.freezing import freeze


def without_variance() -> nn.Module:
    network = conv_norm()
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    norm.running_var.zero_()
    return network


EXAMPLES: dict[str, Example] = {
    "bias before batch norm": Example(
        lambda: (conv_norm(bias=True), {}), "advice", ("0",), lambda: (conv_norm(bias=False), {})
    ),
    "frozen weights with moving statistics": Example(
        lambda: (half_frozen(guarded=False), {}), "error", ("0.1",), lambda: (half_frozen(guarded=True), {})
    ),
    "batches too small for batch norm": Example(
        lambda: (conv_norm(), {"batch_size": 15}), "warning", ("1",), lambda: (conv_norm(), {"batch_size": 16})
    ),
    "outdated statistics after training": Example(
        # 0.9^28 = 0.0523, 0.9^29 = 0.0471
        lambda: (conv_norm(), {"steps": 28}),
        "warning",
        ("1",),
        lambda: (conv_norm(), {"steps": 29}),
    ),
    "momentum of another framework": Example(
        lambda: (conv_norm(norm=nn.BatchNorm2d(3, momentum=0.99)), {}),
        "warning",
        ("1",),
        lambda: (conv_norm(norm=nn.BatchNorm2d(3, momentum=0.01)), {}),
    ),
    "statistics never updated": Example(
        lambda: (trained(conv_norm(), statistics=False), {}), "error", ("1",), lambda: (trained(conv_norm()), {})
    ),
    "shared batch norm": Example(
        lambda: (Twice(shared=True), {}), "warning", ("norm",), lambda: (Twice(shared=False), {})
    ),
    "batch statistics in eval mode": Example(
        lambda: (conv_norm(norm=nn.BatchNorm2d(3, track_running_stats=False)), {}),
        "warning",
        ("1",),
        lambda: (conv_norm(), {}),
    ),
    "batch norm out of range": Example(lambda: (without_variance(), {}), "warning", ("1",), lambda: (conv_norm(), {})),
    "scales near zero": Example(
        lambda: (with_scales(1e-5, 1e-4, 1.0), {}), "warning", ("1",), lambda: (with_scales(0.1, 0.01, 1.0), {})
    ),
}


class TestExamples(RuleExamples):
    file, examples = batch_norm, EXAMPLES


def test_without_a_momentum_the_past_weighs_as_many_batches_as_it_had():
    network = small(momentum=None)
    network[1].num_batches_tracked.fill_(300)
    assert "keep 75.0\u00a0%" in findings(doctor(network, steps=100), "outdated statistics after training")["warning"]


def test_statistics_that_stay_in_eval_mode_do_not_depend_on_batches_or_steps():
    network = nn.Sequential(small(), nn.Conv2d(4, 2, 1))
    freeze(network, until="1")
    diagnosis = doctor(network, batch_size=2, steps=1)
    assert {"batches too small for batch norm", "outdated statistics after training"} <= set(diagnosis.passed)


def test_one_value_for_each_channel_is_an_error_as_in_torch_itself():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))
    assert list(findings(doctor(network, batch_size=1), "batches too small for batch norm")) == ["error"]
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network.train()(torch.zeros(1, 3, 8, 8))
    assert list(findings(doctor(network, batch_size=2), "batches too small for batch norm")) == ["warning"]


@pytest.mark.slow
def test_initial_statistics_are_worse_the_more_was_trained(small_classifier):
    rule = "statistics never updated"
    new_head = nn.Sequential(small(), nn.BatchNorm2d(4))
    new_head[0][1].running_mean.fill_(0.3)
    new_head[0][1].bias.data.fill_(0.3)
    assert list(findings(doctor(new_head), rule)) == ["advice"]
    assert list(findings(doctor(small(affine=False)), rule)) == ["warning"]
    classifier = small_classifier()
    norm = next(m for m in classifier.backbone.network.modules() if isinstance(m, nn.BatchNorm2d))
    norm.reset_running_stats()
    assert list(findings(doctor(classifier), rule)) == ["error"]


@pytest.mark.slow
def test_the_counter_of_batches_is_no_evidence_that_statistics_were_updated():
    moved, counted = small(), small()
    moved[1].running_var.fill_(2.0)  # weights of old files come without a counter
    counted[1].num_batches_tracked.fill_(1000)
    assert "statistics never updated" in doctor(moved).passed
    assert findings(doctor(counted), "statistics never updated")


class Auxiliary(nn.Module):
    """A batch norm that runs while training only."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.extra = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.extra(self.main(x)) if self.training else self.main(x)


def test_an_auxiliary_branch_needs_no_statistics_in_eval_mode():
    assert "statistics never updated" in doctor(Auxiliary()).passed


@pytest.mark.slow
def test_frozen_weights_whose_statistics_will_move_at_the_next_train_are_a_warning():
    network = nn.Sequential(small().requires_grad_(False), nn.Conv2d(4, 2, 1)).eval()
    assert list(findings(doctor(network), "frozen weights with moving statistics")) == ["warning"]
    assert "frozen weights with moving statistics" in doctor(network.requires_grad_(False)).passed  # for features only


class Standardised(nn.Conv2d):
    """A convolution that normalises its weights by a functional batch norm, as NFNets do."""

    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(self.weight.reshape(1, self.out_channels, -1), None, None, training=True)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias)


def test_weights_normalised_by_batch_norm_do_not_depend_on_the_batch():
    assert "batch statistics in eval mode" in doctor(Standardised(3, 4, 3)).passed


@pytest.mark.slow
def test_a_finished_classifier_has_no_new_layer(small_classifier):
    classifier = small_classifier()
    norm = next(m for m in classifier.backbone.network.modules() if isinstance(m, nn.BatchNorm2d))
    norm.reset_parameters()  # in a Backbone this is advice: a new layer
    assert list(findings(doctor(classifier), "statistics never updated")) == ["error"]
    assert list(findings(doctor(classifier.backbone), "statistics never updated")) == ["advice"]


class Elsewhere(nn.Module):
    """A convolution with a bias that batch norm subtracts, and that is used elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x) * x


def test_a_bias_that_something_else_takes_too_is_used():
    assert "bias before batch norm" in doctor(Elsewhere()).passed


@pytest.mark.slow
def test_a_momentum_of_zero_keeps_the_first_statistics_for_ever():
    network = nn.Sequential(small(momentum=0.0), nn.Conv2d(4, 2, 1))
    assert "never change" in findings(doctor(network), "momentum of another framework")["warning"]
    freeze(network, until="1")
    assert "momentum of another framework" in doctor(network).passed


@pytest.mark.parametrize(("eps", "found"), [(1e-5, []), (1e-3, []), (10.0, ["warning"])])
def test_a_large_epsilon_is_a_warning(eps: float, found: list[str]):
    network = conv_norm()
    network[1].eps = eps
    assert list(findings(doctor(network), "batch norm out of range")) == found
