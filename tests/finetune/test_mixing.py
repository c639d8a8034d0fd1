"""Mixed images: labels in the shares of the pixels, the same for the same seed, and the loop's chance left alone."""

from __future__ import annotations

import pytest
import torch

from headstart.errors import TrainingError
from headstart.finetune.mixing import mixing
from headstart.training.meters import accuracy


def flat_images(count: int) -> torch.Tensor:
    """Image i is i everywhere."""
    return torch.arange(float(count)).reshape(count, 1, 1, 1).expand(count, 3, 8, 8).contiguous()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_shares_of_the_labels_are_those_of_the_pixels(kind: str) -> None:
    mix = mixing(kind, 6)
    assert mix is not None
    pixels, labels = mix(flat_images(6), torch.arange(6), 5)
    assert labels.shape == (6, 6)
    assert torch.allclose(labels.sum(1), torch.ones(6))
    # with image i equal to i everywhere, the mean pixel is the mean label
    expected = (labels * torch.arange(6.0)).sum(1)
    assert torch.allclose(pixels.mean((1, 2, 3)), expected, atol=1e-5)
    assert not torch.equal(pixels, flat_images(6))


def test_a_seed_gives_the_same_mixture_and_draws_nothing_from_the_global_numbers() -> None:
    mix = mixing("mixup", 6)
    assert mix is not None
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first, second, other = (mix(flat_images(6), torch.arange(6), seed)[0] for seed in (7, 7, 8))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_no_mixing_is_none_and_an_unknown_kind_an_error() -> None:
    assert mixing("none", 3) is None
    with pytest.raises(TrainingError, match="mixup"):
        mixing("mixdown", 3)


def test_a_mixed_label_counts_as_its_larger_share() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    target = torch.tensor([[0.7, 0.3, 0.0], [0.6, 0.0, 0.4]])
    assert accuracy(logits, target).tolist() == [1.0, 0.0]
