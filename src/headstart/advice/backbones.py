"""Which backbone, stages and image size suit these images: candidates ranked by leave-one-group-out squared error.

In: features of the same images by several networks. Out: BackboneAdvice. Differences are in pairs, image by image, with
an interval over groups; those that cannot be told apart from the best are tied, and of them the cheapest is advised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.advice.transferability import h_score, logme
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import Interval, mean_interval, share_interval
from headstart.features.matrix import Features
from headstart.heads.regularization_path import LabelledFeatures, Labels
from headstart.heads.ridge import indicators, solve_ridge
from headstart.plain import Plain, fields_of
from headstart.wording import counted

FEW_PER_CLASS = 20  # images; below, held-out accuracy saturates: ten a class gave 0.97 to a stage that tested at 0.70
RUNGS = (100, 250, 500)  # images that the candidates of each round are measured on; the last is the most ever read


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerFit(Plain):
    """A head on one choice of stages, scored on images that it left out.

    Args:
        layers: word of the option `--layers`. stages: that it stands for. width: features of an image.
        squared_error: mean over images and classes of the ±1 indicators' squared error, each group left out in turn.
        accuracy: of the left-out predictions.
        logme, h_score: transferability scores of the same features.
        losses: N, the squared error of each image.
    """

    layers: str
    stages: tuple[str, ...]
    width: int
    squared_error: float
    accuracy: Interval
    logme: float
    h_score: float
    losses: NDArray[np.float64] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, without the losses of single images."""
        return fields_of(replace(self, losses=np.empty(0))) | {"losses": None}


@dataclass(frozen=True, kw_only=True)
class NetworkCost(Plain):
    """A network at an image size, and what it costs.

    Args:
        backbone: its name. weights: a file or address given for it; None: its own source. size: side in px; 0: that
            its weights were trained with. side: in px.
        milliseconds: for the forward pass of one image on this machine.
        megabytes: of its tensors as float32. licence: of the weights.
    """

    backbone: str
    weights: str | None = None
    size: int = 0
    side: int
    milliseconds: float
    megabytes: float
    licence: str

    @property
    def title(self) -> str:
        """Name and size, for people."""
        return f"{self.backbone} {self.side} px"


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A network with its fits in each round that it took part in, on ever more images."""

    cost: NetworkCost
    rounds: tuple[tuple[LayerFit, ...], ...]

    def with_round(self, fits: Sequence[LayerFit]) -> Measured:
        """The same with one more round."""
        return replace(self, rounds=(*self.rounds, tuple(fits)))

    def chosen(self, number: int = -1) -> LayerFit:
        """In a round, the fit at the stages that its last round chooses."""
        layers = choose_layers(self.rounds[-1]).layers
        return next(fit for fit in self.rounds[number] if fit.layers == layers)


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedBackbone(Plain):
    """One line of the advice.

    Args:
        network: with its cost. fit: at the chosen stages, on as many images as it was measured on.
        images: their number.
        behind: its squared error minus that of the best one, in pairs; None for the best itself.
        is_tied: whether it cannot be told apart from the best: the interval of `behind` includes 0.
        layer_fits: of every choice of stages, on the same images.
    """

    network: NetworkCost
    fit: LayerFit
    images: int
    behind: Interval | None
    is_tied: bool
    layer_fits: tuple[LayerFit, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class BackboneAdvice(Plain):
    """Backbones ranked for a set of images, and the one to take.

    Args:
        source: of the images. images: training images that were used. classes: C.
        ranked: the best first. advised: the cheapest of those tied with the best.
        is_few: whether there are too few images a class for accuracy, so that LogME ranks.
        left_out: network → why it was not measured, or not on all images.
        command: to type next.
        seconds: that it took.
    """

    source: str
    images: int
    classes: int
    ranked: tuple[RankedBackbone, ...]
    advised: RankedBackbone
    is_few: bool
    left_out: Mapping[str, str]
    command: str
    seconds: float

    @property
    def summary(self) -> str:
        """What to take and why, one or two sentences."""
        best, choice = self.ranked[0], self.advised
        tied = sum(one.is_tied for one in self.ranked)
        if choice is not best:
            why = f"it is within one standard error of the best, {best.network.title}, and the cheapest of those"
        elif tied:
            words = "others cannot be told apart from it" if tied > 1 else "another cannot be told apart from it"
            why = f"{words}, but no cheaper one comes within one standard error"
        else:
            why = "all others are worse beyond doubt" if len(self.ranked) > 1 else "nothing else was measured"
        text = f"Take {choice.network.title}: {why}."
        if missed := [title for title in self.left_out if title not in {one.network.title for one in self.ranked}]:
            text += f" {counted(len(missed), 'network')} not measured: give more --minutes."
        if self.is_few:
            text += (
                f" Fewer than {FEW_PER_CLASS} images a class: LogME ranks, for held-out accuracy says little of so few."
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, with the sentences of `summary`."""
        return super().to_dict() | {"summary": self.summary}


def fit_layers(
    features: Features,
    labels: Labels,
    groups: Labels,
    *,
    classes: int,
    layers: Mapping[str, tuple[str, ...]],
) -> list[LayerFit]:
    """A ridge head at every choice of stages, each image predicted without its group.

    Args:
        features: of N images. labels, groups: N. layers: word → stages.

    Raises:
        DataError: there are fewer than two groups, or the features do not differ.
    """
    found, everything = [], np.arange(len(labels))
    for word, stages in layers.items():
        view = features.view(everything, stages)
        path = solve_ridge(LabelledFeatures.of(view, labels, classes, groups=groups))
        losses = np.square(path.held_scores - indicators(labels, classes)).mean(axis=1)
        correct = path.held_scores.argmax(axis=1) == labels
        x = view.array()
        found.append(
            LayerFit(
                layers=word,
                stages=stages,
                width=x.shape[1],
                squared_error=float(losses.mean()),
                accuracy=share_interval(correct, shared_groups(groups.tolist())),
                logme=logme(x, labels, classes),
                h_score=h_score(x, labels),
                losses=losses,
            )
        )
    return found


def choose_layers(fits: Sequence[LayerFit]) -> LayerFit:
    """The first, which is the default, unless another has a squared error that is smaller beyond doubt."""
    best = min(fits, key=lambda fit: fit.squared_error)
    difference = mean_interval(best.losses - fits[0].losses)
    return best if difference.high < 0 else fits[0]


def survivors(measured: Sequence[Measured], groups: Labels) -> list[Measured]:
    """Networks for the next, larger round: the better half, and those tied with the best that are cheaper than it.

    Args:
        measured: all with the same number of rounds. groups: N, of the images of the last round.

    Source: Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification, AISTATS (successive halving); a cheap
        network that may be the one to advise is kept, for keeping it is cheap as well.
    """
    ordered = sorted(measured, key=lambda one: one.chosen().squared_error)
    best, half = ordered[0], (len(ordered) + 1) // 2
    kept = []
    for place, one in enumerate(ordered):
        tied = place == 0 or _difference(one.chosen(), best.chosen(), groups).low <= 0
        if tied and (place < half or one.cost.milliseconds < best.cost.milliseconds):
            kept.append(one)
    return kept


def rank_networks(measured: Sequence[Measured], groups: Sequence[Labels], *, is_few: bool) -> list[RankedBackbone]:
    """Networks from the best to the worst; those that left early stand behind the others.

    Args:
        groups: for each round, those of its images. is_few: rank by LogME instead of squared error.
    """

    def order(one: Measured) -> tuple[int, float]:
        fit = one.chosen()
        return -len(one.rounds), -fit.logme if is_few else fit.squared_error

    ordered = sorted(measured, key=order)
    best, ranked = ordered[0], []
    for one in ordered:
        last = len(one.rounds) - 1  # a round that the best one took part in as well
        behind = None if one is best else _difference(one.chosen(), best.chosen(last), groups[last])
        ranked.append(
            RankedBackbone(
                network=one.cost,
                fit=one.chosen(),
                images=len(groups[last]),
                behind=behind,
                is_tied=behind is not None and behind.low <= 0,
                layer_fits=one.rounds[-1],
            )
        )
    return ranked


def advised(ranked: Sequence[RankedBackbone]) -> RankedBackbone:
    """Of those that cannot be told apart from the best, the cheapest within one standard error of it.

    Only networks that were measured on as many images as the best one: a tie on fewer images says little.

    Source: Breiman et al. 1984, Classification and Regression Trees, section 3.4.3 (the one-standard-error rule).
    """
    best = ranked[0]
    return min(
        (one for one in ranked if one is best or (one.images == best.images and _is_near(one.behind))),
        key=lambda one: one.network.milliseconds,
    )


def _is_near(behind: Interval | None) -> bool:
    """Whether a difference is at most one standard error; its interval is about two of them to each side."""
    return behind is not None and behind.low <= 0 and behind.value <= (behind.high - behind.low) / 4


def _difference(one: LayerFit, other: LayerFit, groups: Labels) -> Interval:
    return mean_interval(one.losses - other.losses, shared_groups(groups.tolist()))
