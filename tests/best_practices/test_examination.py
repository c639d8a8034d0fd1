"""The examination: modes as they were found, shared measurements, and inputs that are missing."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from flawed_networks import small
from headstart.best_practices.examination import Examination, NotCheckedError
from headstart.freezing import freeze
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import inspected_model


def examination_of(network: nn.Module, **inputs: object) -> Examination:
    return Examination.of(inspected_model(network), **inputs)  # type: ignore[arg-type]


def test_modes_are_noted_and_those_after_train_too_and_nothing_changes():
    network = nn.Sequential(small(), nn.Conv2d(4, 2, 1))
    freeze(network, until="1")
    network.eval()
    network[1].train()
    found = examination_of(network)
    assert found.modes[""] is False
    assert found.modes["1"] is True
    assert "0.1" not in found.live  # the frozen batch norm
    assert "1" in found.live
    assert [module.training for module in network.modules()] == list(found.modes.values())


def test_missing_inputs_are_named():
    found = examination_of(nn.Linear(2, 2), steps=3)
    assert found.missing(["steps", "images", "optimizer"]) == ["images", "the optimiser"]


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Conv2d(1, 2, 3), (2, 1, 224, 224)),
        (nn.Linear(5, 2), (2, 5)),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)), (2, 3072)),
        (nn.BatchNorm1d(7), (2, 7)),
        (nn.Conv1d(4, 2, 3), (2, 4, 224)),
    ],
)
def test_an_input_shape_that_works_is_found(network: nn.Module, shape: tuple[int, ...]):
    assert tuple(examination_of(network.eval()).sample_pixels(2).shape) == shape


def test_images_are_used_where_there_are_some():
    pixels = torch.randn(3, 3, 8, 8)
    found = examination_of(small().eval(), images=InspectedImages.of(pixels))
    assert torch.equal(found.sample_pixels(2), pixels[:2])
    assert found.graph.output_shape == (2, 4, 6, 6)
    assert torch.equal(torch.cat(list(found.batches())), pixels)


def test_a_network_that_asks_for_values_runs_on_blank_images():
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if float(x.sum()) == 0 else x

    assert [one.function for one in examination_of(Asking().eval()).graph.operations][-1] == "conv2d"


def test_a_network_that_fails_everywhere_has_no_graph_and_says_why():
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("missing part")

    found = examination_of(Failing())
    assert found.calls is None
    with pytest.raises(NotCheckedError, match="a working forward pass: KeyError: 'missing part'"):
        _ = found.graph


@pytest.mark.slow
def test_a_trained_network_is_told_from_a_new_one():
    network = torchvision.models.resnet18(weights=None, zero_init_residual=True)
    assert examination_of(network).is_untrained
    nn.init.constant_(network.bn1.bias, 0.1)
    assert not examination_of(network).is_untrained
    assert examination_of(network).affine_moved("bn1") is True
    assert not examination_of(nn.Linear(2, 2)).is_untrained
    assert examination_of(nn.Sequential(nn.BatchNorm2d(2, affine=False))).affine_moved("0") is None


def test_a_training_pass_that_needs_too_much_memory_is_not_tried():
    found = examination_of(nn.Conv2d(3, 40_000, 1).eval())
    with pytest.raises(NotCheckedError, match=r"less memory: a training pass would hold 16 GB"):
        _ = found.training_pass
