"""Gradient correlation: how alike the gradients at neighbouring inputs are, on the way from one image to another."""

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
from headstart.inspection.wording import many

SHATTERED = 0.2
"""Correlation at neighbouring inputs below which gradients are called noise. Balduzzi et al. 2017, figure 1: plain
networks of 50 layers with batch norm have 0, residual ones 0.5 and more."""

POINTS = 64
_TOGETHER = 8


@dataclass(frozen=True)
class GradientCorrelation(InspectionResult):
    """Autocorrelation of the input's gradient over lags.

    Args:
        lines: ways from image to image that were walked. points: inputs on each.
        curve: mean autocorrelation at lags 0, 1, 2 … single: that of each line.
    """

    model: str
    lines: int
    points: int
    curve: tuple[float, ...]
    single: tuple[tuple[float, ...], ...]

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Gradients of {self.model} at neighbouring inputs"

    @property
    def length(self) -> float:
        """Share of the way over which the correlation falls to 1/e; infinite where it never does."""
        below = [lag for lag, value in enumerate(self.curve) if value < np.exp(-1)]
        return below[0] / (self.points - 1) if below else float("inf")

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        step = 1 / (self.points - 1)
        words = f"Gradients at two inputs {step:.1%} of the way from image to image apart correlate {self.curve[1]:.2f}"
        if self.curve[1] < SHATTERED:
            return (
                f"{words}: they are like noise, and a step that helps one image says little of the next. Shortcuts, or "
                "smaller branches beside them, keep gradients smooth.",
            )
        gone = (
            f", 1/e after {self.length:.0%} of the way" if np.isfinite(self.length) else ", and hardly less further on"
        )
        return (f"{words}{gone}: smooth enough for steps to carry over to neighbours.",)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The correlation at some lags."""
        lags = [lag for lag in (1, 2, 3, 5, 10, 15) if lag < len(self.curve)]
        rows = tuple((lag, lag / (self.points - 1), self.curve[lag]) for lag in lags)
        return (Table(f"Mean over {many(self.lines, 'line')}", ("lag", "share of the way", "correlation"), rows, 3),)

    @property
    def description(self) -> str:
        """The figure in words."""
        return (
            f"The autocorrelation of the gradient over {len(self.curve) - 1} lags, falling from 1 to "
            f"{self.curve[1]:.2f} at lag 1 and {self.curve[-1]:.2f} at lag {len(self.curve) - 1}; thin lines are "
            "single ways."
        )

    def figure(self) -> Figure:
        """Autocorrelation over lags."""
        lags = list(range(len(self.curve)))
        singles = [Line("", lags, one, MUTED, "dashes") for one in self.single]
        lines = (*singles, Line("mean", lags, self.curve, TEXT))
        return panels_figure([Plot("Likeness of gradients", lines, "lag (inputs apart)", "correlation")])

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "title": self.title,
            "model": self.model,
            "lines": self.lines,
            "points": self.points,
            "curve": list(self.curve),
            "single": [list(one) for one in self.single],
            "length": self.length if np.isfinite(self.length) else None,
            "reading": list(self.interpretation),
        }


def gradient_correlation(
    model: Model,
    images: InspectedImages | Tensor,
    *,
    points: int = POINTS,
    lines: int = 3,
    most_lag: int = 15,
    seed: int = 0,
) -> GradientCorrelation:
    """Autocorrelation of the gradient of a logit over the pixels along straight ways between drawn pairs of images.

    The logit is that of the class answered at the beginning of the way. Batch norm stays fixed, so that no input acts
    on another's gradient.

    Args:
        points: inputs on each way. lines: ways, at most one for each image.

    Raises:
        DataError: there are fewer than two images, or fewer points than four times the largest lag.

    Source: Balduzzi et al. 2017, arXiv:1702.08591, section 2.1; there the input is one number, here a picture, so that
    products of gradients are inner products.
    """
    subject, images = inspected_model(model), InspectedImages.of(images)
    if len(images) < 2 or points < 4 * most_lag:
        found = f"{many(len(images), 'image')}, {points} points for {most_lag} lags"
        raise DataError(expected="two images and four points for each lag", found=found, where="gradient_correlation")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).tolist()
    ways = [(order[i], order[(i + 1) % len(order)]) for i in range(min(lines, len(order)))]
    with subject.eval_mode():
        subject.network.requires_grad_(False)
        curves = [
            autocorrelation(_gradients(subject, images.pixels[a], images.pixels[b], points)[None], most_lag)
            for a, b in ways
        ]
    mean = tuple(np.mean(curves, 0).tolist())
    return GradientCorrelation(subject.name, len(ways), points, mean, tuple(tuple(one) for one in curves))


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


def _gradients(subject: InspectedModel, start: Tensor, end: Tensor, points: int) -> Tensor:
    """Gradient of the logit at each point of the way, points × numbers of a picture."""
    with torch.no_grad():
        target = int(subject.logits(start[None]).argmax())
    parts = []
    for shares in torch.split(torch.linspace(0, 1, points), _TOGETHER):
        at = shares.view(-1, 1, 1, 1)
        inputs = ((1 - at) * start + at * end).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(subject.logits(inputs)[:, target].sum(), inputs)
        parts.append(gradient.flatten(1))
    return torch.cat(parts)
