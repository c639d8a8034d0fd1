"""Recalibrated batch norm against the statistics of all the data at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import BackboneError
from headstart.hooks import capture_inputs


def _sorted_data() -> Tensor:
    """Two classes far apart, one after the other: what a folder without shuffling gives."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(40, 3, 16, 16, generator=generator) + shift for shift in (-2.0, 2.0)])


def _batches(data: Tensor, size: int) -> Callable[[], Iterator[Tensor]]:
    return lambda: iter(data.split(size))


def _norms(network: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}


@pytest.mark.parametrize("size", [7, 32, 80])
def test_one_batch_norm_gets_the_statistics_of_all_the_data(size: int) -> None:
    norm, data = nn.BatchNorm2d(3), _sorted_data()

    recalibrate_batch_norm(nn.Sequential(norm), _batches(data, size))

    flat = data.double().transpose(0, 1).flatten(1)
    assert torch.allclose(norm.running_mean.double(), flat.mean(1), atol=1e-6)
    assert torch.allclose(norm.running_var.double(), flat.var(1, correction=1), rtol=1e-6)


def test_the_variance_survives_a_mean_far_from_zero() -> None:
    norm, data = nn.BatchNorm2d(3), _sorted_data() + 1000.0

    recalibrate_batch_norm(nn.Sequential(norm), _batches(data, 16))

    assert torch.allclose(norm.running_var.double(), data.double().var((0, 2, 3)), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 80])
def test_deep_layers_are_standardised_in_eval_mode(size: int) -> None:
    network, data = build_backbone(SPECS["random"], seed=3).network, _sorted_data()

    recalibrate_batch_norm(network, _batches(data, size))

    with torch.no_grad(), capture_inputs(_norms(network)) as inputs:
        network(data)
    for name, norm in _norms(network).items():
        x = (inputs[name] - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()
        alive = inputs[name].var((0, 2, 3)) > 1e-3  # a dead channel has no variance to bring to one
        assert alive.float().mean() > 0.9
        assert x.mean((0, 2, 3)).abs().max() < 1e-3
        assert (x.var((0, 2, 3))[alive] - 1).abs().max() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 80])
def test_the_order_and_the_size_of_the_batches_do_not_matter(size: int) -> None:
    data = _sorted_data()
    shuffled = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(1))]
    one, other = (build_backbone(SPECS["random"]).network for _ in range(2))

    recalibrate_batch_norm(one, _batches(data, 16))
    recalibrate_batch_norm(other, _batches(shuffled, size))

    for name, norm in _norms(one).items():
        twin = _norms(other)[name]
        assert torch.allclose(norm.running_mean, twin.running_mean, rtol=1e-3, atol=1e-4)
        assert torch.allclose(norm.running_var, twin.running_var, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_same_images_give_the_same_bits() -> None:
    one, other = (build_backbone(SPECS["random"]) for _ in range(2))

    for backbone in (one, other):
        recalibrate_batch_norm(backbone.network, _batches(_sorted_data(), 32))

    assert one.fingerprint == other.fingerprint


def test_a_batch_norm_that_runs_twice_counts_both_runs() -> None:
    norm = nn.BatchNorm2d(3, affine=False)
    network, data = nn.Sequential(norm, nn.Identity(), norm), _sorted_data()
    fresh = nn.Sequential(nn.BatchNorm2d(3, affine=False)).eval()

    recalibrate_batch_norm(network, _batches(data, 16))

    both = torch.cat([data, fresh(data)])  # the second run sees what the first made with the statistics of before
    assert torch.allclose(norm.running_mean, both.mean((0, 2, 3)), atol=1e-3)


def test_weights_modes_and_hooks_stay_as_they_were() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    network[1].eval()
    before = [parameter.clone() for parameter in network.parameters()]

    recalibrate_batch_norm(network, _batches(_sorted_data(), 16))

    assert [module.training for module in network] == [True, False, True]
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    assert not network[1]._forward_pre_hooks


def test_no_images_and_broken_activations_are_errors() -> None:
    with pytest.raises(BackboneError, match="images to estimate"):
        recalibrate_batch_norm(nn.Sequential(nn.BatchNorm2d(3)), list)
    with pytest.raises(BackboneError, match="finite activations"):
        recalibrate_batch_norm(nn.Sequential(nn.BatchNorm2d(3)), _batches(torch.full((4, 3, 8, 8), float("nan")), 2))


def test_a_network_without_batch_norm_stays_unchanged() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))

    recalibrate_batch_norm(network, _batches(_sorted_data(), 16))

    assert network[0].weight.isfinite().all()


def test_the_batch_norms_of_several_batches_are_counted() -> None:
    network, counted = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.BatchNorm2d(2)), list[tuple[int, int]]()
    x = torch.rand(4, 2, 3, 3)
    recalibrate_batch_norm(
        network, lambda: [x[:2], x[2:]], on_progress=lambda done, total: counted.append((done, total))
    )
    assert counted == [(1, 2), (2, 2)]
