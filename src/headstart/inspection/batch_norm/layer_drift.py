"""LayerDrift: one batch norm's stored statistics against what it gets from some images, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headstart.inspection.batch_norm.activations_after import FULL, SHUT
from headstart.inspection.batch_norm.channel_moments import Array, ChannelMoments, jeffreys, never_updated, stored

SILENT = float(np.log(0.01))  # ln variance ratio: a channel that varies a hundred times less hardly sees its pattern
DULL = 1e-3  # of the layer's median stored variance: channels that never did anything are no news
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LayerDrift:
    """One batch norm with C channels; ε is part of every variance.

    Args:
        layer: its path. activation: what takes its output; empty where it is added, pooled or not known.
        shift: (μ − μ stored) / σ stored. log_variance: ln(σ² / σ² stored). divergence: Jeffreys', of normals.
        shift_floor, floor: 95th percentile of the median |shift| and of the median divergence between sets drawn from
            the images and all of them: what chance alone gives.
        dead: the activation passes nothing of it on any image. saturated: it is at its upper end on average.
        silent: it varies a hundred times less than it did in training.
        updated: whether the statistics were ever updated.
    """

    layer: str
    activation: str
    shift: Array
    log_variance: Array
    divergence: Array
    shift_floor: float
    floor: float
    dead: Flags
    saturated: Flags
    silent: Flags
    updated: bool

    @property
    def score(self) -> float:
        """Median divergence of its channels."""
        return float(np.median(self.divergence))

    @property
    def typical_shift(self) -> float:
        """Median |shift| of its channels."""
        return float(np.median(np.abs(self.shift)))

    def to_dict(self) -> dict[str, object]:
        """Plain values; one number for each channel."""
        rounded = {
            name: [round(float(v), 4) for v in getattr(self, name)] for name in ("shift", "log_variance", "divergence")
        }
        flags = {name: np.flatnonzero(getattr(self, name)).tolist() for name in ("dead", "saturated", "silent")}
        plain = {"layer": self.layer, "activation": self.activation, "score": self.score, "floor": self.floor}
        return {**plain, "shift_floor": self.shift_floor, "updated": self.updated, **rounded, **flags}


def layer_drift(name: str, norm: nn.Module, activation: str, moments: ChannelMoments, shares: Array) -> LayerDrift:
    """Everything that is to be said of one batch norm; `shares` B×N are the draws behind the floors."""
    mean, variance = moments.pooled()
    kept_mean, kept_variance = stored(norm)
    eps = float(getattr(norm, "eps", 0.0))
    drawn_mean, drawn_variance = moments.redrawn(shares)
    by_chance = jeffreys((drawn_mean, drawn_variance + eps), (mean, variance + eps))
    chance_shift = np.abs(drawn_mean - mean) / np.sqrt(kept_variance)
    log_variance = np.log((variance + eps) / kept_variance)
    top, typical = _after(norm, moments)
    return LayerDrift(
        name,
        activation,
        (mean - kept_mean) / np.sqrt(kept_variance),
        log_variance,
        jeffreys((mean, variance + eps), (kept_mean, kept_variance)),
        float(np.quantile(np.median(chance_shift, axis=1), 0.95)),
        float(np.quantile(np.median(by_chance, axis=1), 0.95)),
        top <= SHUT.get(activation, -np.inf),
        typical >= FULL.get(activation, np.inf),
        (log_variance < SILENT) & (kept_variance > DULL * np.median(kept_variance)),
        not never_updated(norm),
    )


def _after(norm: nn.Module, moments: ChannelMoments) -> tuple[Array, Array]:
    """Largest value and mean of what the batch norm gives, C each."""
    mean, variance = stored(norm)
    weight, bias = (getattr(norm, name, None) for name in ("weight", "bias"))
    scale = (np.ones_like(mean) if weight is None else weight.detach().cpu().double().numpy()) / np.sqrt(variance)
    shift = (0.0 if bias is None else bias.detach().cpu().double().numpy()) - mean * scale
    return np.where(scale > 0, moments.high, moments.low) * scale + shift, moments.mean.mean(0) * scale + shift
