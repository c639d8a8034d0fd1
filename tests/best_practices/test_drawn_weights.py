"""Drawn weights against trained ones, with distributions of known moments and, where they are there, real weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headstart.best_practices.drawn_weights import is_drawn


def drawn(kind: str) -> Tensor:
    torch.manual_seed(1)
    weight = torch.empty(64, 32, 3, 3)
    return {
        "uniform": lambda: nn.init.uniform_(weight, -0.2, 0.2),
        "normal": lambda: nn.init.normal_(weight, std=0.02),
        "cut": lambda: nn.init.trunc_normal_(weight, std=0.02),
        "default": lambda: nn.Linear(300, 20).weight,
    }[kind]()


@pytest.mark.parametrize("kind", ["uniform", "normal", "cut", "default"])
def test_what_torch_draws_is_recognised(kind: str):
    assert is_drawn(drawn(kind))


def test_other_weights_are_not():
    assert not is_drawn(torch.zeros(20, 20))
    assert not is_drawn(torch.randn(3, 3))  # too few to say
    heavy = torch.randn(64, 288, generator=torch.Generator().manual_seed(0)) ** 3
    assert not is_drawn(heavy)
    assert not is_drawn(drawn("normal") * torch.linspace(0.5, 2, 64).view(-1, 1, 1, 1))  # rows of unequal scale


@pytest.mark.slow
def test_trained_weights_are_not(test_data: Path):
    from safetensors.torch import load_file

    state = load_file(test_data / "weights" / "resnet18_imagenet.safetensors")
    kernels = [value for name, value in state.items() if value.ndim == 4]
    assert not any(is_drawn(kernel) for kernel in kernels)
