"""Stacked networks: the batched product against one nn.Sequential for each seed, losses, and intervals by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.lab.experiment import seeded
from headstart.lab.stacked_networks import StackedNetworks, accuracies, draw_problem, interval, losses, mean_losses


def alone(model: StackedNetworks, seed: int) -> nn.Sequential:
    """The network of one seed, of torch's own layers."""
    layers: list[nn.Module] = []
    for i, (weight, bias) in enumerate(zip(model.weights, model.biases, strict=True)):
        linear = nn.Linear(*weight.shape[1:])
        linear.weight.data, linear.bias.data = weight[seed].T.clone(), bias[seed, 0].clone()
        norm, relu = nn.BatchNorm1d(weight.shape[2]), nn.ReLU()
        is_last = i == len(model.weights) - 1
        order = {"none": [relu], "before": [norm, relu], "after": [relu, norm]}[model.norm]
        layers += [linear, *([] if is_last else order)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("norm", ["none", "before", "after"])
def test_each_seed_is_a_network_of_its_own(norm: str) -> None:
    with seeded(0):
        model = StackedNetworks(3, 2, 8, norm=norm)
        points = torch.randn(3, 16, 20)

    together, evaluated = model(points), model.eval()(points)

    for seed in range(3):
        network = alone(model, seed)
        torch.testing.assert_close(together[seed], network(points[seed]))
        torch.testing.assert_close(evaluated[seed], network.eval()(points[seed]))


def test_groups_normalise_each_part_of_a_batch_as_if_it_came_alone() -> None:
    with seeded(0):
        model, points = StackedNetworks(2, 1, 8, norm="before", group=4), torch.randn(2, 8, 20)

    parts = [model(points[:, :4]), model(points[:, 4:])]

    torch.testing.assert_close(model(points), torch.cat(parts, dim=1))


def test_losses_and_accuracies_are_per_seed() -> None:
    scores, labels = torch.randn(2, 5, 4), torch.randint(4, (2, 5))
    expected = [nn.functional.cross_entropy(scores[i], labels[i]) for i in range(2)]
    torch.testing.assert_close(losses(scores, labels), torch.stack(expected))

    with seeded(0):
        model, problem = StackedNetworks(2, 1, 8).eval(), draw_problem(2, 8)
    found = model(problem.points).argmax(-1)
    assert accuracies(model, problem.points, found).tolist() == [1, 1]
    assert mean_losses(model, problem.points, found).shape == (2,)


def test_noise_changes_about_its_share_of_the_training_labels_and_no_test_label() -> None:
    with seeded(4):
        clean = draw_problem(2, 2000)
    with seeded(4):
        noisy = draw_problem(2, 2000, noise=0.4)

    assert torch.equal(clean.test_labels, noisy.test_labels)
    assert float((clean.labels != noisy.labels).float().mean()) == pytest.approx(0.4 * 3 / 4, abs=0.03)


def test_an_interval_by_hand() -> None:
    mean, low, high = interval(torch.tensor([1.0, 2.0, 3.0]))

    assert mean == 2
    assert (low, high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)  # t(0.975, 2) = 4.303
    with pytest.raises(ValueError):
        interval(torch.tensor([1.0]))
