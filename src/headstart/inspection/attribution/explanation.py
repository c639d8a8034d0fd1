"""Explanation: the evidence for a class in one image, and whether it can be trusted."""

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
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.plain import to_plain
from headstart.wording import listed, percent

MATTERS = 2.0
"""How many times lower the odds of the class must be with the hottest fifth hidden than with as much hidden elsewhere.
Odds, not probabilities: near 100 % these hardly move whatever is hidden. Our choice."""

SAME = 0.5
"""Rank correlation with the map of shuffled weights from which a map does not depend on what was learnt. Our choice:
Adebayo et al. 2018, arXiv:1810.03292, report the correlations and set no bound."""


@dataclass(frozen=True, eq=False)
class SimilarImage:
    """A training image similar to the one explained.

    Args:
        label: its class. cosine: of the head's input features, centred. picture: H×W×3 uint8, where the file is found.
    """

    name: str
    label: str
    cosine: float
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, object]:
        """All but the picture."""
        return {"name": self.name, "label": self.label, "cosine": self.cosine}


@dataclass(frozen=True, eq=False)
class HeatMap:
    """The map of one method, and its checks.

    Args:
        heat: S×S, positive values are evidence for the class.
        hidden: probability with the hottest fifth hidden. elsewhere: mean with the same shape hidden at eight others.
        sanity: rank correlation with the map of the same network with shuffled weights; None: not measured, no map.
        incompleteness: how far integrated gradients are from complete; None for others, and where nothing is explained.
    """

    method: str
    heat: Heat = field(repr=False)
    hidden: float | None
    elsewhere: float | None
    sanity: float | None
    incompleteness: float | None

    @property
    def matters(self) -> bool:
        """Whether hiding the hottest fifth costs more than hiding as much elsewhere."""
        if self.hidden is None or self.elsewhere is None:
            return False
        return _odds(self.elsewhere) >= MATTERS * _odds(self.hidden)

    def to_dict(self) -> dict[str, object]:
        """All but the map."""
        names = ("method", "hidden", "elsewhere", "sanity", "incompleteness")
        return {name: to_plain(getattr(self, name)) for name in names}


@dataclass(frozen=True, eq=False)
class Explanation(InspectionResult):
    """The evidence for a class in one image.

    Args:
        image: its name. predicted: the most probable class.
        target: the class that is explained. probability: of that class.
        picture: H×W×3 in [0, 1]. maps: one per method. stage: that Grad-CAM explains.
        stage_shares: stage → its share of the score, for a head on several stages.
        similar: training images, the most similar first; empty where they are not known.
    """

    model: str
    image: str
    predicted: str
    target: str
    probability: float
    picture: NDArray[np.floating] = field(repr=False)
    maps: tuple[HeatMap, ...]
    stage: str
    stage_shares: dict[str, float] = field(default_factory=dict)
    similar: tuple[SimilarImage, ...] = ()

    @property
    def title(self) -> str:
        """Image, class and probability."""
        other = "" if self.target == self.predicted else f" (predicted: {shown(self.predicted)})"
        return f"{shown(self.image)}: {shown(self.target)} {percent(self.probability)}{other}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """Whether each map shows the evidence, what similar images say, and what Grad-CAM leaves out."""
        maps = [sentence for one in self.maps for sentence in self._on_map(one)]
        return tuple(filter(None, [*maps, self._on_similar(), self._on_shares()]))

    def _on_map(self, one: HeatMap) -> list[str]:
        target = shown(self.target)
        if one.hidden is None or one.elsewhere is None:
            return [f"{one.method}: no evidence for {target} in the image; the map is empty."]
        change = f"{target} goes from {percent(self.probability)} to {percent(one.hidden)}"
        beside = f"with as much hidden elsewhere it is {percent(one.elsewhere)}"
        where = f"{one.method} is hottest {where_is(one.heat)}"
        if one.matters:
            found = [f"{where}, and the prediction depends on it: with the hottest fifth hidden {change}, {beside}."]
        else:
            found = [f"{where}, but the prediction does not depend on it: with it hidden {change}, {beside}."]
        if one.sanity is not None and abs(one.sanity) >= SAME:
            found.append(
                f"{one.method}: a network with shuffled weights gives a similar map (rank correlation "
                f"{one.sanity:.2f}): it shows the image more than what the network learnt."
            )
        if one.incompleteness is not None and one.incompleteness > COMPLETE:
            off = percent(one.incompleteness)
            found.append(f"{one.method}: its sum is {off} off the difference it explains; use the map with caution.")
        return found

    def _on_similar(self) -> str:
        if not self.similar:
            return ""
        same = sum(one.label == self.predicted for one in self.similar)
        names = listed([f"{one.name} ({one.label}, {one.cosine:.2f})" for one in self.similar], 3)
        doubt = (
            "" if 2 * same > len(self.similar) else " The prediction is doubtful: half or more belong to other classes."
        )
        return (
            f"Most similar training images: {names}; {same} of these {len(self.similar)} are of class "
            f"{shown(self.predicted)}.{doubt}"
        )

    def _on_shares(self) -> str:
        if len(self.stage_shares) < 2 or not any(one.method == "grad-cam" for one in self.maps):
            return ""
        shares = ", ".join(f"{shown(stage)} {percent(share)}" for stage, share in self.stage_shares.items())
        return f"The score comes from {shares}; Grad-CAM shows only what passes through {shown(self.stage)}."

    @property
    def tables(self) -> tuple[Table, ...]:
        """The checks of each map, and the similar training images."""
        rows = tuple(
            (one.method, self.probability, one.hidden, one.elsewhere, one.sanity, one.incompleteness)
            for one in self.maps
        )
        columns = (
            "method", "probability", "hottest fifth hidden", "elsewhere hidden", "correlation with shuffled weights",
            "incompleteness",
        )  # fmt: skip
        similar = tuple((shown(one.name), shown(one.label), one.cosine) for one in self.similar)
        found = Table("Similar training images", ("image", "class", "cosine"), similar, 3)
        return (Table("Checks of the maps", columns, rows, 3), *([found] if similar else []))

    @property
    def description(self) -> str:
        """The figure in words."""
        maps = " ".join(f"{one.method.capitalize()} is hottest {where_is(one.heat)}." for one in self.maps)
        similar = f" Below are {len(self.similar)} similar training images." if self.similar else ""
        return (
            f"The image {shown(self.image)}, {shown(self.target)} with a probability of {percent(self.probability)}, "
            f"and the same with a heat map of the evidence for {shown(self.target)}. {maps}{similar}"
        )

    def figure(self) -> Figure:
        """The image, its maps, and the similar training images."""
        panels = [HeatmapPanel("image", self.picture)]
        for one in self.maps:
            note = "the map is empty"
            if one.hidden is not None and one.elsewhere is not None:
                note = f"hottest fifth hidden: {percent(one.hidden)}\nas much elsewhere: {percent(one.elsewhere)}"
            panels.append(HeatmapPanel(one.method, self.picture, note, heat=one.heat))
        similar = [
            HeatmapPanel(
                one.label,
                one.picture / 255.0,
                f"cosine {one.cosine:.2f}",
                frame=BLUE if one.label == self.predicted else ORANGE,
            )
            for one in self.similar
            if one.picture is not None
        ]
        heading = shown(self.image).rsplit("/", 1)[-1] + self.title.removeprefix(shown(self.image))
        return attribution_figure(heading, panels, similar=similar, similar_title="similar\ntraining\nimages")


def where_is(heat: Heat) -> str:
    """Where the hottest square is: `at the upper left`, `in the middle`; `nowhere` for an empty map.

    Not the centre of mass: between two hot corners nothing is hot.
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
