"""LayerDrift: one batch norm's stored statistics against what it gets from some images, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headstart.inspection.batch_norm.channel_moments import (
    Array,
    ChannelMoments,
    epsilon_of,
    jeffreys_divergence,
    never_updated,
    stored_statistics,
)
from headstart.inspection.graph import Graph

SILENT = float(np.log(0.01))  # ln variance ratio: a channel that varies a hundred times less hardly sees its pattern
DULL = 1e-3  # of the layer's median stored variance: a channel that never varied is not reported
_ACTIVATIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "hardtanh": "relu6",  # what nn.ReLU6 calls
    "hardswish": "hardswish",
    "silu": "silu",
    "gelu": "gelu",
}
_ZERO_UP_TO = {"relu": 0.0, "relu6": 0.0, "hardswish": -3.0}  # the largest input that gives 0
_SATURATED_FROM = {"relu6": 6.0}  # the smallest input that gives the largest output
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LayerDrift:
    """One batch norm with C channels; ε is part of every variance.

    Args:
        layer: its path.
        activation: what takes its output; empty where it is added, pooled or not known.
        shift: (μ − μ stored) / σ stored.
        log_variance: ln(σ² / σ² stored).
        divergence: Jeffreys', of normal distributions.
        shift_floor, floor: 95th percentile of the median |shift| and of the median divergence between bootstrap
            samples of the images and all of them: what chance alone gives.
        dead: the activation is zero on every image.
        saturated: the activation is at its upper end on average.
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
        """Plain values: one number for each channel, and the indices of dead, saturated and silent ones."""
        rounded = {
            name: [round(float(v), 4) for v in getattr(self, name)] for name in ("shift", "log_variance", "divergence")
        }
        flags = {name: np.flatnonzero(getattr(self, name)).tolist() for name in ("dead", "saturated", "silent")}
        plain = {"layer": self.layer, "activation": self.activation, "score": self.score, "floor": self.floor}
        return {**plain, "shift_floor": self.shift_floor, "updated": self.updated, **rounded, **flags}


# a batch norm with its name and activation, and what entered it
def layer_drift(name: str, norm: nn.Module, activation: str, *, moments: ChannelMoments, weights: Array) -> LayerDrift:
    """The drift of one batch norm; `weights` B×N are the bootstrap samples behind the floors."""
    mean, variance = moments.pooled()
    stored_mean, stored_variance = stored_statistics(norm)
    eps = epsilon_of(norm)
    drawn_mean, drawn_variance = moments.resampled(weights)
    by_chance = jeffreys_divergence((drawn_mean, drawn_variance + eps), (mean, variance + eps))
    chance_shift = np.abs(drawn_mean - mean) / np.sqrt(stored_variance)
    log_variance = np.log((variance + eps) / stored_variance)
    largest, typical = _outputs(norm, moments)
    return LayerDrift(
        layer=name,
        activation=activation,
        shift=(mean - stored_mean) / np.sqrt(stored_variance),
        log_variance=log_variance,
        divergence=jeffreys_divergence((mean, variance + eps), (stored_mean, stored_variance)),
        shift_floor=float(np.quantile(np.median(chance_shift, axis=1), 0.95)),
        floor=float(np.quantile(np.median(by_chance, axis=1), 0.95)),
        dead=largest <= _ZERO_UP_TO.get(activation, -np.inf),
        saturated=typical >= _SATURATED_FROM.get(activation, np.inf),
        silent=(log_variance < SILENT) & (stored_variance > DULL * np.median(stored_variance)),
        updated=not never_updated(norm),
    )


def activations_after(graph: Graph) -> dict[str, str]:
    """Path of a batch norm → the activation that takes its output; those that are added or pooled first are left out.

    Layers that normalise and activate in one module, as timm's do, are included.
    """
    found: dict[str, str] = {}
    for index in graph.find("batch_norm"):
        names = [name.rpartition(".")[0] for name in graph.operations[index].tensors if name.endswith("running_mean")]
        users = [graph.operations[user].function for user in graph.users[index]]
        if names and users and users[0] in _ACTIVATIONS:
            found[names[0]] = _ACTIVATIONS[users[0]]
    return found


def _outputs(norm: nn.Module, moments: ChannelMoments) -> tuple[Array, Array]:
    """Largest value and mean of the batch norm's output, C each."""
    mean, variance = stored_statistics(norm)
    weight, bias = (getattr(norm, name, None) for name in ("weight", "bias"))
    scale = (np.ones_like(mean) if weight is None else weight.detach().cpu().double().numpy()) / np.sqrt(variance)
    shift = (0.0 if bias is None else bias.detach().cpu().double().numpy()) - mean * scale
    return np.where(scale > 0, moments.high, moments.low) * scale + shift, moments.mean.mean(0) * scale + shift
