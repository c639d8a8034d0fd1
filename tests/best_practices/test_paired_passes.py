"""Paired passes: what two images in eval mode, and one alone, show."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flawed_networks import noise
from headstart.best_practices.paired_passes import Overwritten, run_paired_passes


class Function(nn.Module):
    """Any function of the pixels, as a network."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def passes(function):  # type: ignore[no-untyped-def]
    return run_paired_passes(Function(function), noise(2, 3, 4, 4))


def test_a_network_that_keeps_images_apart():
    found = passes(lambda x: x.flatten(1) * 2)
    assert (found.mixes, found.images, found.rows, found.alone, found.overwritten) == (False, 2, 2, "", ())


def test_a_mean_over_the_batch_mixes():
    assert passes(lambda x: x - x.mean(0)).mixes
    assert not passes(lambda x: x - x.mean((1, 2, 3), keepdim=True)).mixes


def test_rounding_and_random_numbers_do_not_count_as_mixing():
    assert not passes(lambda x: x + 1e-6 * len(x)).mixes
    assert not passes(lambda x: x + torch.rand(1)).mixes


def test_a_lost_axis_and_an_error_of_one_image_are_told():
    assert passes(lambda x: x.sum((1, 2, 3)).squeeze()).alone == "an output with 0 axes; with more images it has 1"

    def picky(x: Tensor) -> Tensor:
        if len(x) == 1:
            raise ValueError("more than one")
        return x

    assert passes(picky).alone == "ValueError: more than one"


def test_old_and_new_names_of_a_tensor_are_told_apart():
    def kept(x: Tensor) -> Tensor:
        x = x + 0
        return torch.relu_(x) + x

    def replaced(x: Tensor) -> Tensor:
        x = torch.relu_(x + 0)
        return x + x

    def statement(x: Tensor) -> Tensor:
        x = x + 0
        x.relu_()
        return x * 2

    def operator(x: Tensor) -> Tensor:
        x = x + 0
        x += 1
        return x * x

    assert passes(kept).overwritten == (Overwritten("", "relu", "", "add"),)
    assert not any(passes(function).overwritten for function in (replaced, statement, operator))


def test_the_pixels_are_not_changed():
    pixels = noise(2, 3, 4, 4)
    before = pixels.clone()
    run_paired_passes(Function(lambda x: x.mul_(2)), pixels)
    assert torch.equal(pixels, before)
