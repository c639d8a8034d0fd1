"""Explanation: why one image got its answer, as far as it can be shown, and whether that can be believed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.nn import functional as F

from headstart.errors import shown
from headstart.figures.attribution import HeatmapPanel, attribution_figure
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.attribution.saliency import COMPLETE, Heat
from headstart.inspection.inspection_result import Cell, InspectionResult, Table
from headstart.inspection.wording import listed

MATTERS = 2.0
"""How many times lower the odds of the class must be with the hottest part hidden than with as much hidden elsewhere.
Odds, not probabilities: near 100 % these hardly move whatever is hidden. Our choice."""

SAME = 0.5
"""Rank correlation with the map of shuffled weights from which a map is said not to depend on what was learnt. Our
choice: Adebayo et al. 2018, arXiv:1810.03292, report the correlations and set no bound."""


@dataclass(frozen=True, eq=False)
class SimilarImage:
    """A training image that looks like the one explained.

    Args:
        label: its class. cosine: of the features that the head takes, centred. picture: H×W×3 uint8, where at hand.
    """

    name: str
    label: str
    cosine: float
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class HeatMap:
    """What one method shows, and the checks.

    Args:
        heat: S×S, above zero speaks for the class.
        hidden: probability once the hottest fifth is hidden. elsewhere: mean over eight other places of the same shape.
        sanity: rank correlation with the map of the same network with shuffled weights; None: not asked or no map.
        off: how far integrated gradients are from complete; None for others, and where nothing is to be explained.
    """

    method: str
    heat: Heat = field(repr=False)
    hidden: float | None
    elsewhere: float | None
    sanity: float | None
    off: float | None

    def to_dict(self) -> dict[str, object]:
        """All but the map."""
        return {
            "method": self.method,
            "hidden": self.hidden,
            "elsewhere": self.elsewhere,
            "sanity": self.sanity,
            "off": self.off,
        }


@dataclass(frozen=True, eq=False)
class Explanation(InspectionResult):
    """Why one image got its answer, as far as it can be shown.

    Args:
        name: of the image. answer: the most probable class.
        asked: the class that is explained. probability: of that class.
        picture: H×W×3 in [0, 1]. maps: one for each method.
        alike: training images, the most alike first.
        shares: stage → its share of the score, where a head takes several.
    """

    model: str
    name: str
    answer: str
    asked: str
    probability: float
    picture: NDArray[np.floating] = field(repr=False)
    maps: tuple[HeatMap, ...]
    stage: str
    alike: tuple[SimilarImage, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Image and answer."""
        other = "" if self.asked == self.answer else f", answered {shown(self.answer)}"
        return f"{shown(self.name)}: {shown(self.asked)} {self.probability:.1%}{other}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        maps = [sentence for one in self.maps for sentence in self._on_map(one)]
        return tuple(filter(None, [*maps, self._on_alike(), self._on_shares()]))

    def _on_map(self, one: HeatMap) -> list[str]:
        if one.hidden is None or one.elsewhere is None:
            return [f"{one.method}: nothing in the image speaks for {shown(self.asked)}; the map is empty."]
        falls = f"{shown(self.asked)} goes from {self.probability:.1%} to {one.hidden:.1%}"
        beside = f"hiding as much elsewhere gives {one.elsewhere:.1%}"
        where = f"{one.method} is hottest {where_is(one.heat)}"
        if _odds(one.elsewhere) >= MATTERS * _odds(one.hidden):
            said = [f"{where}, and the answer rests on it: with the hottest fifth hidden {falls}, {beside}."]
        else:
            said = [f"{where}, but do not take it for the reason: with it hidden {falls}, {beside}."]
        if one.sanity is not None and abs(one.sanity) >= SAME:
            said.append(
                f"{one.method}: a network with shuffled weights gives a similar map (rank correlation "
                f"{one.sanity:.2f}): "
                "it shows the image more than what was learnt."
            )
        if one.off is not None and one.off > COMPLETE:
            said.append(f"{one.method}: its sum is {one.off:.0%} off what it must be; take the map with caution.")
        return said

    def _on_alike(self) -> str:
        if not self.alike:
            return ""
        same = sum(one.label == self.answer for one in self.alike)
        names = listed([f"{one.name} ({one.label}, {one.cosine:.2f})" for one in self.alike], 3)
        doubt = "" if 2 * same > len(self.alike) else " Doubt the answer: most that look like it are of another class."
        return f"It looks like {names}; {same} of the {len(self.alike)} most alike are {shown(self.answer)}.{doubt}"

    def _on_shares(self) -> str:
        if len(self.shares) < 2 or not any(one.method == "grad-cam" for one in self.maps):
            return ""
        parts = listed([f"{stage} {share:.0%}" for stage, share in self.shares.items()])
        return f"The score comes from {parts}; Grad-CAM shows what passes through {shown(self.stage)} only."

    @property
    def tables(self) -> tuple[Table, ...]:
        """The checks of each map, and the images alike."""
        rows: tuple[tuple[Cell, ...], ...] = tuple(
            (one.method, self.probability, *(_number(v) for v in (one.hidden, one.elsewhere, one.sanity, one.off)))
            for one in self.maps
        )
        heads = (
            "method",
            "probability",
            "hottest hidden",
            "elsewhere hidden",
            "with shuffled weights",
            "incomplete by",
        )
        checks = Table("Can the map be believed?", heads, rows, 3)
        alike = tuple((shown(one.name), shown(one.label), one.cosine) for one in self.alike)
        return (checks, *([Table("Training images alike", ("image", "class", "cosine"), alike, 3)] if alike else []))

    @property
    def description(self) -> str:
        """The figure in words."""
        maps = " ".join(f"{one.method.capitalize()} is hottest {where_is(one.heat)}." for one in self.maps)
        alike = f" Below are {len(self.alike)} training images that look like it." if self.alike else ""
        return (
            f"The image {shown(self.name)}, {shown(self.asked)} with a probability of {self.probability:.0%}, and the "
            f"same under heat where it speaks for {shown(self.asked)}. {maps}{alike}"
        )

    def figure(self) -> Figure:
        """The image, its maps, and the training images alike."""
        panels = [HeatmapPanel("image", self.picture)]
        for one in self.maps:
            note = "the map is empty"
            if one.hidden is not None and one.elsewhere is not None:
                note = f"hottest fifth hidden: {one.hidden:.1%}\nas much elsewhere: {one.elsewhere:.1%}"
            panels.append(HeatmapPanel(one.method, self.picture, note, one.heat))
        alike = [
            HeatmapPanel(
                one.label,
                one.picture / 255.0,
                f"cosine {one.cosine:.2f}",
                frame=BLUE if one.label == self.answer else ORANGE,
            )
            for one in self.alike
            if one.picture is not None
        ]
        heading = self.title.removeprefix(shown(self.name))
        return attribution_figure(
            shown(self.name).rsplit("/", 1)[-1] + heading,
            panels,
            similar=alike,
            similar_title="most similar\n(training\nimages)",
        )

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; maps are left out."""
        return {
            "title": self.title,
            "model": self.model,
            "name": self.name,
            "answer": self.answer,
            "asked": self.asked,
            "probability": self.probability,
            "stage": self.stage,
            "maps": [one.to_dict() for one in self.maps],
            "alike": [{"name": one.name, "label": one.label, "cosine": one.cosine} for one in self.alike],
            "shares": dict(self.shares),
            "reading": list(self.interpretation),
        }


def where_is(heat: Heat) -> str:
    """Where the hottest square lies: `at the upper left`, `in the middle`; `nowhere` for an empty map.

    Not the centre of all heat: between two hot corners nothing is hot.
    """
    if not (heat > 0).any():
        return "nowhere"
    positive = torch.from_numpy(heat.clip(min=0))[None, None]
    cells = F.adaptive_avg_pool2d(positive, (min(7, heat.shape[0]), min(7, heat.shape[1])))[0, 0].numpy()
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    y, x = (float(row) + 0.5) / cells.shape[0], (float(column) + 0.5) / cells.shape[1]
    high = "upper " if y < 0.4 else "lower " if y > 0.6 else ""
    side = "left" if x < 0.4 else "right" if x > 0.6 else "middle" if not high else "half"
    return "in the middle" if (high, side) == ("", "middle") else f"at the {high}{side}"


def _odds(probability: float) -> float:
    return probability / max(1 - probability, 1e-12)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
