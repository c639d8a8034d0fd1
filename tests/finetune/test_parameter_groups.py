"""Groups of parameters: each parameter once, the rates by hand."""

from __future__ import annotations

import pytest
import torch

from fine_tune_set import backbone
from headstart.finetune.network_with_head import HeadedNetwork
from headstart.finetune.parameter_groups import parameter_groups


def test_parameters_are_in_one_group_each_and_earlier_stages_are_slower() -> None:
    made = backbone()
    made.network.requires_grad_(True)
    network = HeadedNetwork(made, ("stage2", "stage3"), 3)
    groups = parameter_groups(network, made, 0.1, stage_decay=0.5, weight_decay=0.01)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    trained = [id(parameter) for parameter in network.parameters() if parameter.requires_grad]
    assert sorted(listed) == sorted(trained)
    sizes = [
        max(torch.cat([p.detach().flatten() for p in g["params"]]).square().mean().sqrt().item(), 1e-3) for g in groups
    ]
    rates = {g["name"].split(",")[0]: g["lr"] / size for g, size in zip(groups, sizes, strict=True)}
    assert rates == pytest.approx({"stem": 0.00625, "stage1": 0.0125, "stage2": 0.025, "stage3": 0.05, "head": 0.1})
    for group in groups:
        dims = {parameter.ndim > 1 for parameter in group["params"]}
        assert dims == {group["weight_decay"] > 0}
    before = {id(p): p.detach().clone() for p in network.parameters()}
    optimizer = torch.optim.SGD([{**group, "weight_decay": 0.0} for group in groups])
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for group in groups:
        for parameter in group["params"]:
            assert torch.allclose(before[id(parameter)] - parameter, torch.full_like(parameter, group["lr"]), atol=1e-6)


def test_a_centred_head_learns_by_the_size_of_its_steps() -> None:
    made = backbone()
    network = HeadedNetwork(made, ("stage2", "stage3"), 3)
    network.step_scales = (0.5, 2.0)
    groups = parameter_groups(network, made, 0.1, stage_decay=0.5, weight_decay=0.01)
    rates = {group["name"]: group["lr"] for group in groups if group["name"].startswith("head")}
    assert rates == pytest.approx({"head, weights": 0.05, "head, biases and scales": 0.2})
