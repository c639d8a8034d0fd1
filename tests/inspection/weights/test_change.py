"""Weight changes: rotation and distance as scipy and numpy compute them, and the tensors that two networks share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from torch import nn

from headstart.errors import BackboneError
from headstart.inspection.inspected_model import inspected_model
from headstart.inspection.weights.change import changes, moved_statistics, shared_tensors


def test_rotation_and_distance_are_those_of_scipy_and_numpy():
    a, b = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    (one,) = changes({"x.weight": a, "x.bias": a[:, 0, 0, 0]}, {"x.weight": b, "x.bias": b[:, 0, 0, 0]})
    first, second = a.numpy().ravel().astype(float), b.numpy().ravel().astype(float)
    assert one.layer == "x"
    assert one.rotation == pytest.approx(cosine(first, second))
    assert one.distance == pytest.approx(np.linalg.norm(second - first) / np.linalg.norm(first))
    (grown,) = changes({"x.weight": a}, {"x.weight": 3 * a})
    assert (grown.rotation, grown.distance, grown.growth) == pytest.approx((0.0, 2.0, 3.0), abs=1e-7)


def test_an_unchanged_layer_is_exactly_zero_and_vectors_are_not_layers():
    weight = torch.randn(4, 3)
    (one,) = changes(
        {"x.weight": weight, "x.bias": torch.zeros(4)}, {"x.weight": weight.clone(), "x.bias": torch.ones(4)}
    )
    assert one.is_unchanged
    assert (one.rotation, one.distance, one.growth) == (0.0, 0.0, 1.0)


def test_moved_statistics_are_counted():
    before = nn.BatchNorm2d(3).state_dict()
    after = {**before, "running_mean": before["running_mean"] + 1}
    assert moved_statistics(before, after) == (1, 2)


def test_two_architectures_share_no_tensors():
    with pytest.raises(BackboneError, match="1 tensor of different shape or name: weight"):
        shared_tensors(inspected_model(nn.Linear(2, 3, bias=False)), inspected_model(nn.Linear(3, 3, bias=False)))
