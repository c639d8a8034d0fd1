"""Filters: what the first layer looks for; near copies, filters that do nothing, and whether they were trained."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import beta
from torch import Tensor, nn

from headstart.errors import BackboneError, near
from headstart.figures.filters import filters_figure
from headstart.hooks import watch_outputs
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import Cell, InspectionResult, Table
from headstart.inspection.wording import many, numbered

Weights = NDArray[np.float64]

COPY = 0.95
"""|cosine| from which two filters are near copies: 18 degrees apart. What chance gives is computed beside it."""

DEAD = 0.01
"""Of the usual filter's norm (or of the usual spread of outputs): what is below it adds under a percent."""

SMOOTH = 0.2
"""Correlation of neighbouring weights below which a filter has no smooth pattern; drawn weights have 0, with a spread
of about 1/sqrt(pairs), which is 0.06 for 7×7×3. Very fine stripes lie below it too, so the verdict is on most filters.
After CS231n, Visualizing what ConvNets learn: noisy first filters are those of a network that was not trained long
enough, or was overfitted."""

COLOUR = 0.5  # share of a filter's energy outside grey from which it is called one of colour
_SHOWN = 12  # rows of a table


@dataclass(frozen=True)
class Pair:
    """Two filters and the cosine of their weights; below zero: one is the other's negative."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True, eq=False)
class Filters(InspectionResult):
    """The filters of one convolution.

    Args:
        model: name of the network. layer: path of the convolution.
        weights: F×C×H×W.
        norms: F, Euclidean.
        copies: pairs of filters alike, or each other's negative, the most alike first.
        expected_copies: how many such pairs drawn weights of that size would have.
        dead: filters whose weights are as good as zero.
        silent: filters whose output does not vary over the images shown; None where none were.
        smoothness: F, correlation of neighbouring weights; nan for 1×1 filters.
        colours: F, share of energy outside grey; empty unless the layer sees three colours.
    """

    model: str
    layer: str
    weights: Weights = field(repr=False)
    norms: tuple[float, ...] = field(repr=False)
    copies: tuple[Pair, ...]
    expected_copies: float
    dead: tuple[int, ...]
    silent: tuple[int, ...] | None
    smoothness: tuple[float, ...] = field(repr=False)
    colours: tuple[float, ...] = field(repr=False)

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Filters of {self.layer} in {self.model}"

    @property
    def noisy(self) -> tuple[int, ...]:
        """Filters that look drawn, not learnt; the dead ones are not asked."""
        known = [(i, value) for i, value in enumerate(self.smoothness) if np.isfinite(value) and i not in self.dead]
        return tuple(i for i, value in known if value < SMOOTH)

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        return tuple(filter(None, [self._on_training(), self._on_dead(), self._on_silent(), self._on_copies()]))

    def _on_training(self) -> str:
        alive = [value for i, value in enumerate(self.smoothness) if np.isfinite(value) and i not in self.dead]
        if not alive:
            return "Filters of one weight for each channel have no pattern to look at."
        mean, count = float(np.mean(alive)), len(self.noisy)
        words = f"neighbouring weights correlate {mean:.2f} on average, drawn ones would 0"
        if count > len(alive) / 2:
            return (
                f"{count} of {len(alive)} filters look like noise ({words}): these weights are drawn, hardly "
                "trained or scrambled. Check that the pretrained weights were loaded."
            )
        kinds = ""
        if self.colours:
            colour = sum(self.colours[i] >= COLOUR for i in range(len(self.norms)) if i not in self.dead)
            kinds = f"; {colour} look at colour, {len(self.norms) - len(self.dead) - colour} at light and dark"
        noise = f" {count} look like noise or very fine stripes." if count else ""
        return f"The filters are smooth, as trained ones are ({words}){kinds}.{noise}"

    def _on_dead(self) -> str:
        if not self.dead:
            return ""
        share = len(self.dead) / len(self.norms)
        return (
            f"{many(len(self.dead), 'filter')} of {len(self.norms)} ({share:.0%}) "
            f"{'is' if len(self.dead) == 1 else 'are'} as good as zero: "
            f"{numbered(self.dead)}. They cost time and say nothing; a smaller network would do as well, nothing must "
            "be mended."
        )

    def _on_silent(self) -> str:
        silent = [] if self.silent is None else [i for i in self.silent if i not in self.dead]
        if not silent:
            return ""
        return (
            f"{many(len(silent), 'filter')} with weights {'is' if len(silent) == 1 else 'are'} silent on these "
            f"images: {numbered(silent)}. "
            "If many are, the images may be brought to the network in another way than it was trained with."
        )

    def _on_copies(self) -> str:
        if not self.copies:
            return f"No two filters are near copies (|cosine| of {COPY:g} or more)."
        alike = sum(pair.cosine > 0 for pair in self.copies)
        first = self.copies[0]
        closest = f"#{first.first} and #{first.second}, cosine {first.cosine:.3f}"
        chance = f"drawn weights would have {_few(self.expected_copies)}"
        return (
            f"{many(alike, 'pair')} of near copies and {len(self.copies) - alike} of negatives ({chance}); closest "
            f"are {closest}. Copies are spent room: what one sees, the other sees too. Negatives are usual before a "
            "ReLU, which keeps one half of each."
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """Near copies, and the filters that stand out."""
        pairs: tuple[tuple[Cell, ...], ...] = tuple((p.first, p.second, p.cosine) for p in self.copies[:_SHOWN])
        order = np.argsort(self.norms)[:_SHOWN].tolist()
        weak: tuple[tuple[Cell, ...], ...] = tuple(
            (i, self.norms[i], self.norms[i] / (_usual(np.array(self.norms)) or 1.0), self.smoothness[i]) for i in order
        )
        heads = ("filter", "norm", "of the usual norm", "correlation of neighbours")
        copies = Table(f"Near copies ({len(self.copies)} in all)", ("filter", "filter", "cosine"), pairs, 3)
        return (*([copies] if pairs else []), Table("Weakest filters", heads, weak))

    @property
    def description(self) -> str:
        """The figure in words."""
        filters, channels, height, width = self.weights.shape
        return (
            f"The {filters} filters of {self.layer}, {height} by {width} on {channels} channels, as small pictures; "
            f"grey is zero. {len(self.dead)} dead, {len(self.noisy)} like noise, {many(len(self.copies), 'pair')} of "
            "copies."
        )

    def figure(self) -> Figure:
        """The filters as pictures."""
        return filters_figure(self.weights, self.layer)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "title": self.title,
            "model": self.model,
            "layer": self.layer,
            "filters": len(self.norms),
            "norms": list(self.norms),
            "copies": [[pair.first, pair.second, pair.cosine] for pair in self.copies],
            "expected_copies": self.expected_copies,
            "dead": list(self.dead),
            "silent": None if self.silent is None else list(self.silent),
            "noisy": list(self.noisy),
            "smoothness": [value if np.isfinite(value) else None for value in self.smoothness],
            "colours": list(self.colours),
            "reading": list(self.interpretation),
        }


def filters(model: Model, images: InspectedImages | Tensor | None = None, *, layer: str | None = None) -> Filters:
    """What the filters of a convolution look for, which are near copies, and which do nothing.

    Args:
        images: shown to the network to find filters whose output never varies; None: weights alone are looked at.
        layer: path of a convolution in the network; None: the first.

    Raises:
        BackboneError: there is no such convolution, or none.
    """
    subject = inspected_model(model)
    path, convolution = _convolution(subject, layer)
    weights = convolution.weight.detach().double().cpu().numpy()
    norms = np.sqrt(np.square(weights).sum((1, 2, 3)))
    dead = tuple(np.flatnonzero(norms < DEAD * _usual(norms)).tolist())
    copies, expected = near_copies(weights, skip=dead)
    return Filters(
        subject.name,
        path,
        weights,
        tuple(norms.tolist()),
        copies,
        expected,
        dead,
        None if images is None else _silent(subject, path, InspectedImages.of(images)),
        tuple(smoothness(weights).tolist()),
        tuple(colour_shares(weights).tolist()) if weights.shape[1] == 3 else (),
    )


def near_copies(weights: Weights, *, skip: tuple[int, ...] = ()) -> tuple[tuple[Pair, ...], float]:
    """Pairs with |cosine| of `COPY` or more, the most alike first, and how many drawn weights would have.

    The squared cosine of two drawn directions in D dimensions is distributed as Beta(1/2, (D-1)/2).

    Args:
        weights: F×C×H×W. skip: filters without a direction.
    """
    flat = weights.reshape(len(weights), -1)
    unit = flat / np.maximum(np.sqrt(np.square(flat).sum(1, keepdims=True)), np.finfo(float).tiny)
    cosines = unit @ unit.T
    alive = np.setdiff1d(np.arange(len(flat)), skip)
    close = np.argwhere(np.triu(np.abs(cosines) >= COPY, 1))
    kept = close[np.isin(close, alive).all(1)].tolist()
    found = sorted((Pair(a, b, float(cosines[a, b])) for a, b in kept), key=lambda pair: -abs(pair.cosine))
    width = flat.shape[1]
    chance = float(beta.sf(COPY**2, 0.5, (width - 1) / 2)) if width > 1 else 1.0
    return tuple(found), chance * len(alive) * (len(alive) - 1) / 2


def smoothness(weights: Weights) -> NDArray[np.float64]:
    """For each filter the correlation of weights beside each other, F; nan for 1×1 filters.

    Over all pairs (p, q) of neighbours: 2 Σ pq / Σ (p² + q²), which lies in [-1, 1] and is 0 for drawn weights.
    """
    pairs = [(weights[:, :, 1:], weights[:, :, :-1]), (weights[..., 1:], weights[..., :-1])]
    if weights.shape[2] == weights.shape[3] == 1:
        return np.full(len(weights), np.nan)
    zero = np.zeros(len(weights))
    products = sum((2 * (p * q).sum((1, 2, 3)) for p, q in pairs), zero)
    energy = sum(((p**2 + q**2).sum((1, 2, 3)) for p, q in pairs), zero)
    return np.asarray(products / np.where(energy > 0, energy, 1.0), dtype=np.float64)


def colour_shares(weights: Weights) -> NDArray[np.float64]:
    """For each filter on three colours the share of its energy that is not alike in all three, F."""
    grey = 3 * np.square(weights.mean(1)).sum((1, 2))
    energy = np.square(weights).sum((1, 2, 3))
    return np.asarray(1 - grey / np.where(energy > 0, energy, 1.0), dtype=np.float64)


def _convolution(subject: InspectedModel, layer: str | None) -> tuple[str, nn.Conv2d]:
    known = {path: part for path, part in subject.network.named_modules() if isinstance(part, nn.Conv2d)}
    path = next(iter(known), None) if layer is None else layer
    if path is None or path not in known:
        found = "none" if not known else repr(layer)
        hint = near(layer, known) if layer and known else "A network without convolutions has no filters to look at."
        raise BackboneError(expected=f"a convolution of {subject.name}", found=found, where="filters", hint=hint)
    return path, known[path]


@torch.inference_mode()
def _silent(subject: InspectedModel, path: str, images: InspectedImages) -> tuple[int, ...]:
    """Filters whose output spreads less than `DEAD` of the usual filter's, over all images and places."""
    module = subject.network.get_submodule(path)
    low: list[Tensor] = []
    high: list[Tensor] = []

    def look(_: str, maps: Tensor) -> None:
        low.append(maps.amin((0, 2, 3)))
        high.append(maps.amax((0, 2, 3)))

    with subject.eval_mode(), watch_outputs({path: module}, look):
        for pixels in images.batches():
            subject.network(pixels)
    spread = (torch.stack(high).amax(0) - torch.stack(low).amin(0)).cpu().numpy()
    return tuple(np.flatnonzero(spread < DEAD * _usual(spread)).tolist())


def _usual(sizes: NDArray[np.floating]) -> float:
    """The median of those that are not next to nothing beside the largest: these may well be the most.

    Not the largest itself, nor a high quantile: one strong filter would then make weak ones dead.
    """
    return float(np.median(sizes[sizes >= DEAD * sizes.max()]))


def _few(count: float) -> str:
    return "none" if count < 0.5 else f"about {count:.0f}"
