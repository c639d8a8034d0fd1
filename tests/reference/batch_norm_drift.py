"""Drift of one batch norm, written out: all values in one list for each channel, integrals by the trapezium rule."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def literal_drift(
    maps: list[Tensor], mean: Tensor, variance: Tensor, eps: float
) -> tuple[list[float], list[float], list[float]]:
    """Shift, log variance ratio and Jeffreys' divergence of each channel, from the maps C×H×W of every image."""
    shifts, ratios, divergences = [], [], []
    for channel in range(len(mean)):
        values = [float(v) for image in maps for v in image[channel].flatten().double()]
        own_mean = sum(values) / len(values)
        own_variance = sum((v - own_mean) ** 2 for v in values) / len(values)
        kept_mean, kept_variance = float(mean[channel]), float(variance[channel]) + eps
        shifts.append((own_mean - kept_mean) / math.sqrt(kept_variance))
        ratios.append(math.log((own_variance + eps) / kept_variance))
        divergences.append(integrated_jeffreys(own_mean, own_variance + eps, kept_mean, kept_variance))
    return shifts, ratios, divergences


def integrated_jeffreys(mean: float, variance: float, other_mean: float, other_variance: float) -> float:
    """The sum of both Kullback-Leibler divergences of two normal densities, integrated numerically."""
    wide = 12 * math.sqrt(max(variance, other_variance))
    x = np.linspace(min(mean, other_mean) - wide, max(mean, other_mean) + wide, 200_001)
    log_p = -0.5 * ((x - mean) ** 2 / variance + math.log(2 * math.pi * variance))
    log_q = -0.5 * ((x - other_mean) ** 2 / other_variance + math.log(2 * math.pi * other_variance))
    return float(np.trapezoid((np.exp(log_p) - np.exp(log_q)) * (log_p - log_q), x))


def maps_of(layer: torch.nn.Module, pixels: Tensor) -> list[Tensor]:
    """What a layer makes of each image, one at a time."""
    with torch.no_grad():
        return [layer(one[None])[0] for one in pixels]
