"""Gradient correlation: how similar the gradients at neighbouring inputs are, on the line between two images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from headstart.errors import DataError
from headstart.figures.panels import Line, Plot, panels_figure
from headstart.figures.style import MUTED, TEXT
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.wording import counted, percent

SHATTERED = 0.2
"""Correlation at neighbouring inputs below which gradients count as noise. Balduzzi et al. 2017, figure 1: plain
networks of 50 layers with batch norm have 0, residual ones 0.5 and more."""

POINTS = 64
_TOGETHER = 8


@dataclass(frozen=True)
class GradientCorrelation(InspectionResult):
    """Autocorrelation of the input's gradient over lags.

    Args:
        lines: between pairs of images.
        points: inputs on each line.
        curve: mean autocorrelation at lags 0, 1, 2 …
        single: that of each line.
    """

    model: str
    lines: int
    points: int
    curve: tuple[float, ...]
    single: tuple[tuple[float, ...], ...]

    @property
    def title(self) -> str:
        """Of the page's section."""
        return f"Gradients of {self.model} at neighbouring inputs"

    @property
    def length(self) -> float:
        """Share of the line over which the correlation falls to 1/e; infinite where it never does."""
        below = [lag for lag, value in enumerate(self.curve) if value < np.exp(-1)]
        return below[0] / (self.points - 1) if below else float("inf")

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        words = (
            f"Gradients at two inputs that are {percent(1 / (self.points - 1))} of the line between two images apart "
            f"have a correlation of {self.curve[1]:.2f}"
        )
        if self.curve[1] < SHATTERED:
            return (
                f"{words}: they are like noise, and a step that helps one image says little about its neighbours. Add "
                "shortcuts, or scale the branches down, to keep gradients smooth.",
            )
        decay = (
            f"; it falls to 1/e after {percent(self.length)} of the line"
            if np.isfinite(self.length)
            else "; it never falls to 1/e"
        )
        return (f"{words}{decay}. Gradients are smooth: a step that helps one image also helps its neighbours.",)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The correlation at some lags."""
        lags = [lag for lag in (1, 2, 3, 5, 10, 15) if lag < len(self.curve)]
        rows = tuple((lag, lag / (self.points - 1), self.curve[lag]) for lag in lags)
        columns = ("lag", "share of the line", "correlation")
        return (Table(f"Mean over {counted(self.lines, 'line')}", columns, rows, 3),)

    @property
    def description(self) -> str:
        """The figure in words."""
        return (
            f"The autocorrelation of the gradient over {len(self.curve) - 1} lags, falling from 1 to "
            f"{self.curve[1]:.2f} at lag 1 and {self.curve[-1]:.2f} at lag {len(self.curve) - 1}; dashed curves are "
            "single lines between images."
        )

    def figure(self) -> Figure:
        """Autocorrelation over lags."""
        lags = list(range(len(self.curve)))
        singles = [Line("", lags, one, color=MUTED, style="dashes") for one in self.single]
        lines = (*singles, Line("mean", lags, self.curve, TEXT))
        return panels_figure([Plot("Gradient correlation", lines, "lag (inputs apart)", "correlation")])

    def to_dict(self) -> dict[str, object]:
        """The fields, `length`, and the interpretation."""
        return {**super().to_dict(), "length": self.length if np.isfinite(self.length) else None}


def gradient_correlation(
    model: Model,
    images: InspectedImages | Tensor,
    *,
    points: int = POINTS,
    lines: int = 3,
    most_lag: int = 15,
    seed: int = 0,
) -> GradientCorrelation:
    """Autocorrelation of the gradient of a logit over the pixels, along straight lines between pairs of images.

    The logit is that of the class predicted at the beginning of the line. Batch norm is in eval mode, so that no input
    affects another's gradient.

    Args:
        points: inputs on each line.
        lines: at most one for each image.
        most_lag: the largest lag.
        seed: of the choice of the pairs.

    Raises:
        DataError: there are fewer than two images, or fewer points than four times the largest lag.

    Source: Balduzzi et al. 2017, arXiv:1702.08591, section 2.1; there the input is one number, here an image, so that
    products of gradients are inner products.
    """
    inspected, images = inspected_model(model), InspectedImages.of(images)
    if len(images) < 2 or points < 4 * most_lag:
        found = f"{counted(len(images), 'image')}, {points} points for {most_lag} lags"
        raise DataError(expected="two images and four points for each lag", found=found, where="gradient_correlation")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    pairs = [(order[i], order[(i + 1) % len(order)]) for i in range(min(lines, len(order)))]
    with inspected.eval_mode():
        inspected.network.requires_grad_(False)
        curves = [
            autocorrelation(_gradients(inspected, images.pixels[a], images.pixels[b], points)[None], most_lag)
            for a, b in pairs
        ]
    mean = tuple(np.mean(curves, 0).tolist())
    single = tuple(tuple(one) for one in curves)
    return GradientCorrelation(inspected.name, len(pairs), points=points, curve=mean, single=single)


def autocorrelation(gradients: Tensor, most_lag: int) -> list[float]:
    """Mean over lines of the autocorrelation at lags 0 to the largest, each line centred at its own mean.

    Args:
        gradients: S×N numbers at N inputs of S lines, or S×N×D vectors, whose products are inner products.
    """
    flat = gradients.reshape(*gradients.shape[:2], -1)
    centred = flat - flat.mean(1, keepdim=True)
    power, count = centred.square().sum((1, 2)), flat.shape[1]
    products = [(centred[:, : count - lag] * centred[:, lag:]).sum((1, 2)) / power for lag in range(most_lag + 1)]
    return [float(product.mean()) for product in products]


# both ends of the line and how many points it has
def _gradients(inspected: InspectedModel, start: Tensor, end: Tensor, points: int) -> Tensor:
    """Gradient of the logit at each point of the line; points × numbers of an image."""
    with torch.no_grad():
        target = int(inspected.logits(start[None]).argmax())
    gradients = []
    for shares in torch.split(torch.linspace(0, 1, points), _TOGETHER):
        at = shares.view(-1, 1, 1, 1)
        inputs = ((1 - at) * start + at * end).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(inspected.logits(inputs)[:, target].sum(), inputs)
        gradients.append(gradient.flatten(1))
    return torch.cat(gradients)
