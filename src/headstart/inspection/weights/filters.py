"""Filters: the weights of the first layer; near-duplicates, filters that do nothing, and signs of no training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import betainc
from torch import Tensor, nn

from headstart.errors import BackboneError, near
from headstart.figures.filters import filters_figure
from headstart.hooks import watch_outputs
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.wording import counted, numbered, percent

Weights = NDArray[np.float64]

DUPLICATE = 0.95
"""|cosine| from which two filters are near-duplicates: 18 degrees apart; the number by chance is computed beside it."""

DEAD = 0.01
"""Share of the typical filter's norm (or of the typical range of outputs) below which a filter adds next to nothing."""

SMOOTH = 0.2
"""Correlation of neighbouring weights below which a filter has no smooth pattern; random weights have 0, with a spread
of about 1/sqrt(pairs), which is 0.06 for 7×7×3. Very fine stripes lie below it too, so the verdict is on most filters.
After CS231n, Visualizing what ConvNets learn: noisy first filters are those of a network that was not trained long
enough, or was overfitted."""

COLOUR = 0.5  # share of a filter's energy outside grey from which it counts as a colour filter
_SHOWN = 12  # rows of a table


@dataclass(frozen=True)
class FilterPair:
    """Two filters and the cosine of their weights; below zero: one is the other's negative."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True, eq=False)
class Filters(InspectionResult):
    """The F filters of one convolution.

    Args:
        model: name of the network. layer: path of the convolution.
        weights: F×C×H×W.
        norms: F, Euclidean.
        duplicates: pairs of near-duplicates or negatives, the closest first.
        expected_duplicates: how many such pairs random weights of that size would have.
        dead: filters whose weights are nearly zero.
        silent: filters whose output does not vary over the images; None without images.
        smoothness: F, correlation of neighbouring weights; nan for 1×1 filters.
        colours: F, share of energy outside grey; empty unless the layer has three input channels.
    """

    model: str
    layer: str
    weights: Weights = field(repr=False)
    norms: tuple[float, ...]
    duplicates: tuple[FilterPair, ...]
    expected_duplicates: float
    dead: tuple[int, ...]
    silent: tuple[int, ...] | None
    smoothness: tuple[float, ...]
    colours: tuple[float, ...]

    @property
    def title(self) -> str:
        """Layer and model."""
        return f"Filters of {self.layer} in {self.model}"

    @property
    def noisy(self) -> tuple[int, ...]:
        """Filters without a smooth pattern, as random weights are; dead ones do not count."""
        return tuple(i for i, value in self._alive() if value < SMOOTH)

    def _alive(self) -> list[tuple[int, float]]:
        """Numbers and smoothness of the filters that are not dead and have neighbouring weights."""
        return [(i, v) for i, v in enumerate(self.smoothness) if np.isfinite(v) and i not in self.dead]

    @property
    def interpretation(self) -> tuple[str, ...]:
        """Whether the filters were trained, and which of them are of no use."""
        return tuple(filter(None, [self._on_training(), self._on_dead(), self._on_silent(), self._on_duplicates()]))

    def _on_training(self) -> str:
        alive = [value for _, value in self._alive()]
        if not alive:
            return "Filters with one weight per channel have no spatial pattern."
        mean, count = float(np.mean(alive)), len(self.noisy)
        words = f"neighbouring weights correlate {mean:.2f} on average, random weights 0"
        if count > len(alive) / 2:
            return (
                f"{count} of {len(alive)} filters look like noise ({words}): these weights are random, hardly trained "
                "or scrambled. Check that the pretrained weights were loaded."
            )
        kinds = ""
        if self.colours:
            colour = sum(self.colours[i] >= COLOUR for i in range(len(self.norms)) if i not in self.dead)
            kinds = f"; {colour} respond to colour, {len(self.norms) - len(self.dead) - colour} to brightness"
        noise = f" {count} look like noise or very fine stripes." if count else ""
        return f"The filters are smooth, as trained filters are ({words}){kinds}.{noise}"

    def _on_dead(self) -> str:
        if not self.dead:
            return ""
        verb, share = "is" if len(self.dead) == 1 else "are", percent(len(self.dead) / len(self.norms))
        return (
            f"{len(self.dead)} of {counted(len(self.norms), 'filter')} ({share}) {verb} dead (weights near zero): "
            f"{numbered(self.dead)}. They cost time and contribute nothing; a smaller network would do as well. There "
            "is nothing to fix."
        )

    def _on_silent(self) -> str:
        silent = [i for i in self.silent or () if i not in self.dead]
        if not silent:
            return ""
        return (
            f"{counted(len(silent), 'filter')} with non-zero weights {'has' if len(silent) == 1 else 'have'} a "
            f"constant output on these images: {numbered(silent)}. If there are many, check the preprocessing."
        )

    def _on_duplicates(self) -> str:
        if not self.duplicates:
            return f"No near-duplicate filters (|cosine| of {DUPLICATE:g} or more)."
        alike = sum(pair.cosine > 0 for pair in self.duplicates)
        first, expected = self.duplicates[0], self.expected_duplicates
        chance = "none" if expected < 0.5 else f"about {expected:.0f}"
        return (
            f"{counted(alike, 'pair')} of near-duplicate filters and {len(self.duplicates) - alike} of negatives "
            f"(random weights would have {chance}); the closest are #{first.first} and #{first.second}, cosine "
            f"{first.cosine:.3f}. Near-duplicates waste capacity. Negatives are usual before a ReLU, which keeps one "
            "half of each."
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """Near-duplicates, and the weakest filters."""
        pairs = tuple((pair.first, pair.second, pair.cosine) for pair in self.duplicates[:_SHOWN])
        typical = _typical(np.array(self.norms)) or 1.0
        weakest = np.argsort(self.norms)[:_SHOWN].tolist()
        smooth = [value if np.isfinite(value) else None for value in self.smoothness]
        weak = tuple((i, self.norms[i], self.norms[i] / typical, smooth[i]) for i in weakest)
        columns = ("filter", "norm", "share of the typical norm", "correlation of neighbours")
        title = f"Near-duplicates ({len(self.duplicates)} in all)"
        duplicates = Table(title, ("filter", "filter", "cosine"), pairs, 3)
        return (*([duplicates] if pairs else []), Table("Weakest filters", columns, weak))

    @property
    def description(self) -> str:
        """The figure in words."""
        filters, channels, height, width = self.weights.shape
        return (
            f"The {filters} filters of {self.layer}, {height} by {width} on {channels} channels, as small pictures; "
            f"grey is zero. {len(self.dead)} dead, {len(self.noisy)} like noise, "
            f"{counted(len(self.duplicates), 'pair')} of near-duplicates."
        )

    def figure(self) -> Figure:
        """The filters as pictures."""
        return filters_figure(self.weights, self.layer)

    def to_dict(self) -> dict[str, Any]:
        """The fields but the weights, and which filters are noisy."""
        return {**super().to_dict(), "filters": len(self.norms), "noisy": list(self.noisy)}


def filters(model: Model, images: InspectedImages | Tensor | None = None, *, layer: str | None = None) -> Filters:
    """Analyse the filters of a convolution: which are near-duplicates, dead or untrained.

    Args:
        images: to find filters whose output never varies; None: only the weights are analysed.
        layer: path of a convolution in the network; None: the first.

    Raises:
        BackboneError: there is no such convolution, or none.
    """
    inspected = inspected_model(model)
    path, convolution = _convolution(inspected, layer)
    weights = convolution.weight.detach().double().cpu().numpy()
    norms = np.sqrt(np.square(weights).sum((1, 2, 3)))
    dead = tuple(np.flatnonzero(norms < DEAD * _typical(norms)).tolist())
    duplicates, expected = near_duplicates(weights, skip=dead)
    return Filters(
        model=inspected.name,
        layer=path,
        weights=weights,
        norms=tuple(norms.tolist()),
        duplicates=duplicates,
        expected_duplicates=expected,
        dead=dead,
        silent=None if images is None else _silent(inspected, path, InspectedImages.of(images)),
        smoothness=tuple(smoothness(weights).tolist()),
        colours=tuple(colour_shares(weights).tolist()) if weights.shape[1] == 3 else (),
    )


def near_duplicates(weights: Weights, *, skip: tuple[int, ...] = ()) -> tuple[tuple[FilterPair, ...], float]:
    """Pairs with |cosine| of `DUPLICATE` or more, the closest first, and how many random weights would have.

    The squared cosine of two random directions in D dimensions is distributed as Beta(1/2, (D-1)/2).

    Args:
        weights: F×C×H×W. skip: filters without a direction.
    """
    flat = weights.reshape(len(weights), -1)
    unit = flat / np.maximum(np.sqrt(np.square(flat).sum(1, keepdims=True)), np.finfo(float).tiny)
    cosines = unit @ unit.T
    alive = np.setdiff1d(np.arange(len(flat)), skip)
    close = np.argwhere(np.triu(np.abs(cosines) >= DUPLICATE, 1))
    kept = close[np.isin(close, alive).all(1)].tolist()
    found = sorted((FilterPair(a, b, float(cosines[a, b])) for a, b in kept), key=lambda pair: -abs(pair.cosine))
    width = flat.shape[1]
    chance = float(betainc((width - 1) / 2, 0.5, 1 - DUPLICATE**2)) if width > 1 else 1.0
    return tuple(found), chance * len(alive) * (len(alive) - 1) / 2


def smoothness(weights: Weights) -> NDArray[np.float64]:
    """Correlation of neighbouring weights in each filter, F; nan for 1×1 filters.

    Over all pairs (p, q) of neighbours: 2 Σ pq / Σ (p² + q²), which lies in [-1, 1] and is 0 for random weights.
    """
    pairs = [(weights[:, :, 1:], weights[:, :, :-1]), (weights[..., 1:], weights[..., :-1])]
    if weights.shape[2] == weights.shape[3] == 1:
        return np.full(len(weights), np.nan)
    zero = np.zeros(len(weights))
    products = sum((2 * (p * q).sum((1, 2, 3)) for p, q in pairs), zero)
    energy = sum(((p**2 + q**2).sum((1, 2, 3)) for p, q in pairs), zero)
    return np.asarray(products / np.where(energy > 0, energy, 1.0), dtype=np.float64)


def colour_shares(weights: Weights) -> NDArray[np.float64]:
    """Share of each filter's energy that differs between the three colour channels, F."""
    grey = 3 * np.square(weights.mean(1)).sum((1, 2))
    energy = np.square(weights).sum((1, 2, 3))
    return np.asarray(1 - grey / np.where(energy > 0, energy, 1.0), dtype=np.float64)


def _convolution(inspected: InspectedModel, layer: str | None) -> tuple[str, nn.Conv2d]:
    known = {path: module for path, module in inspected.network.named_modules() if isinstance(module, nn.Conv2d)}
    path = next(iter(known), None) if layer is None else layer
    if path is None or path not in known:
        found = "none" if not known else repr(layer)
        hint = near(layer, known) if layer and known else "A network without convolutions has no filters."
        raise BackboneError(expected=f"a convolution of {inspected.name}", found=found, where="filters", hint=hint)
    return path, known[path]


@torch.inference_mode()
def _silent(inspected: InspectedModel, path: str, images: InspectedImages) -> tuple[int, ...]:
    """Filters whose output varies less than `DEAD` times the typical filter's, over all images and positions."""
    module = inspected.network.get_submodule(path)
    low: list[Tensor] = []
    high: list[Tensor] = []

    def keep_range(_: str, maps: Tensor) -> None:
        low.append(maps.amin((0, 2, 3)))
        high.append(maps.amax((0, 2, 3)))

    with inspected.eval_mode(), watch_outputs({path: module}, keep_range):
        for pixels in images.batches():
            inspected.network(pixels)
    spread = (torch.stack(high).amax(0) - torch.stack(low).amin(0)).cpu().numpy()
    return tuple(np.flatnonzero(spread < DEAD * _typical(spread)).tolist())


def _typical(sizes: NDArray[np.floating]) -> float:
    """The median of those that are not negligible beside the largest: the negligible ones may be the majority.

    Not the largest itself, nor a high quantile: one strong filter would then make weak ones dead.
    """
    return float(np.median(sizes[sizes >= DEAD * sizes.max()]))
