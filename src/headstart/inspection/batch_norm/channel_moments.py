"""Moments of what enters each batch norm, by image and channel: all that a drift needs, in N×C numbers.

Pixels of one image are correlated, so images, not pixels, are resampled for a noise floor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from headstart.errors import BackboneError
from headstart.hooks import watch_inputs

Array = NDArray[np.float64]
_FAR = 30.0  # means this many deviations from 0 lose 3 of float32's 7 digits in E[x²] − E[x]²: then the slow way
DRAWS = 200  # of the images, for a noise floor: its 95th percentile then is known to about a tenth


@dataclass(frozen=True, eq=False)
class ChannelMoments:
    """What entered one batch norm.

    Args:
        mean: N×C, over the positions of each image.
        square: N×C, mean of the squares.
        low, high: C, the smallest and the largest value anywhere.
    """

    mean: Array
    square: Array
    low: Array
    high: Array

    def pooled(self) -> tuple[Array, Array]:
        """Mean and variance C over all positions of all images."""
        mean = self.mean.mean(0)
        return mean, np.maximum(self.square.mean(0) - mean**2, 0.0)

    def resampled(self, weights: Array) -> tuple[Array, Array]:
        """Mean and variance B×C of weighted sets of the images; weights B×N, rows sum to 1."""
        mean = weights @ self.mean
        return mean, np.maximum(weights @ self.square - mean**2, 0.0)


def has_statistics(module: nn.Module) -> bool:
    """Whether it is a batch norm that keeps a mean and a variance: torch's, timm's, or torchvision's frozen one."""
    kept = isinstance(getattr(module, "running_mean", None), Tensor)
    return kept and isinstance(getattr(module, "running_var", None), Tensor) and not isinstance(module, _InstanceNorm)


def stored_statistics(norm: nn.Module) -> tuple[Array, Array]:
    """A batch norm's own mean and variance, C each, its epsilon added to the variance as it does itself."""
    mean, variance = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor)  # see has_statistics
    assert isinstance(variance, Tensor)
    return mean.detach().cpu().double().numpy(), variance.detach().cpu().double().numpy() + epsilon_of(norm)


def epsilon_of(norm: nn.Module) -> float:
    """The epsilon of a batch norm."""
    return float(getattr(norm, "eps", 0.0))


def never_updated(norm: nn.Module) -> bool:
    """Whether its statistics are the initial ones, mean 0 and variance 1; the counter is no evidence."""
    mean, variance = norm.running_mean, norm.running_var
    return bool((torch.as_tensor(mean) == 0).all()) and bool((torch.as_tensor(variance) == 1).all())


def bootstrap_weights(images: int, seed: int) -> Array:
    """Weights of N images in DRAWS bootstrap samples, DRAWS×N."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=DRAWS) / images


def jeffreys_divergence(one: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
    """Jeffreys' divergence, both Kullback-Leibler divergences summed, of normals given as mean and variance > 0.

    Source: ½[(σ₁²+δ²)/σ₂² + (σ₂²+δ²)/σ₁²] − 1 with δ = μ₁ − μ₂; if small, about δ²/σ² + ½ ln²(σ₁²/σ₂²).
    """
    (mean, variance), (other_mean, other_variance) = one, other
    apart = (mean - other_mean) ** 2
    result: Array = 0.5 * ((variance + apart) / other_variance + (other_variance + apart) / variance) - 1
    return result


def gather_moments(
    network: nn.Module, norms: Mapping[str, nn.Module], batches: Iterable[Tensor]
) -> dict[str, ChannelMoments]:
    """Moments at the input of each batch norm, in the order in which they run; those that never run are left out.

    Raises:
        BackboneError: what enters a batch norm is not finite.
    """
    moments: defaultdict[str, list[Tensor]] = defaultdict(list)  # of each batch 4×n×C
    for pixels in batches:
        for name, of_runs in _one_pass(network, norms, pixels).items():
            moments[name].append(_joined(of_runs))  # one that runs several times in a pass sees all of it
    return {name: _checked(name, torch.cat(of_batches, 1)) for name, of_batches in moments.items()}


class _ReachedError(Exception):
    """The batch norm that was waited for is about to run."""


def first_norm_input(network: nn.Module, norms: Mapping[str, nn.Module], pixels: Tensor) -> tuple[str, Tensor] | None:
    """Name and input of the first of these batch norms that runs, None if none; what follows it is not computed."""
    found: list[tuple[str, Tensor]] = []

    def stop(name: str, x: Tensor) -> None:
        found.append((name, x))
        raise _ReachedError

    with watch_inputs(norms, stop), suppress(_ReachedError):
        network(pixels)
    return found[0] if found else None


def moments_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and mean square over the positions of maps N×C×…, N×C float64 each, on the CPU.

    By two quick passes; var_mean takes ten times one, so it is kept for means that would swallow the variance.
    """
    flat = _flat(x)
    mean = flat.mean(2).cpu().double()  # not every device has doubles
    square = torch.linalg.vector_norm(flat, dim=2).cpu().double().square() / flat.shape[2]
    far = mean.square() > _FAR**2 * (square - mean.square())
    if flat.shape[2] > 1 and bool(far.any()):
        variance, mean = torch.var_mean(flat.cpu().double(), 2, correction=0)
        square = variance + mean.square()
    return mean, square


def _one_pass(network: nn.Module, norms: Mapping[str, nn.Module], pixels: Tensor) -> dict[str, list[Tensor]]:
    runs: defaultdict[str, list[Tensor]] = defaultdict(list)
    with watch_inputs(norms, lambda name, x: runs[name].append(_moments(x))):
        network(pixels)
    return runs


def _moments(x: Tensor) -> Tensor:
    """4×n×C float64: mean, mean square, smallest, largest of maps n×C×…"""
    flat = _flat(x)
    return torch.stack([*moments_of(x), flat.amin(2).cpu().double(), flat.amax(2).cpu().double()])


def _flat(x: Tensor) -> Tensor:
    return x.detach().float().flatten(2) if x.ndim > 2 else x.detach().float().unsqueeze(2)


def _joined(runs: list[Tensor]) -> Tensor:
    if len(runs) == 1:
        return runs[0]
    every = torch.stack(runs)
    return torch.stack([every[:, 0].mean(0), every[:, 1].mean(0), every[:, 2].amin(0), every[:, 3].amax(0)])


def _checked(name: str, moments: Tensor) -> ChannelMoments:
    mean, square, low, high = moments.numpy()
    if not np.isfinite(mean).all() or not np.isfinite(square).all():
        raise BackboneError(expected="finite activations", found="infinite ones or NaN", where=f"the input of {name}")
    return ChannelMoments(mean, square, low.min(0), high.max(0))
