"""Weight plane: the loss around a small network over two drawn directions that are scaled filter by filter."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import RecipeError
from headstart.figures.weight_plane import weight_plane_figure
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.weights.loss_landscape import check_statistics, loss_of_images, settle
from headstart.inspection.wording import many

MOST_PARAMETERS = 2_000_000
"""Of a network that is looked at so: 121 passes over the images; ResNet-18 would take ten minutes for 150 photos."""

ROUGH = 0.25
"""Share of negative second differences from which the reading speaks of hills. A bowl that flattens outwards has some:
0.1 for a one-dimensional 1 - exp(-x²) over the range that is drawn. Our choice."""


@dataclass(frozen=True, eq=False)
class WeightPlane(InspectionResult):
    """Losses on a square of weights.

    Args:
        at: P steps along each direction; 1 is as far as the filters' own length.
        losses: P×P, second direction × first.
        bent_down: share of second differences along rows and columns that are negative.
        statistics: see `landscape.SETTLED`. normalised: whether directions were scaled filter by filter.
    """

    model: str
    images: int
    at: tuple[float, ...]
    losses: NDArray[np.float64] = field(repr=False)
    bent_down: float
    statistics: str
    normalised: bool

    @property
    def centre(self) -> float:
        """Loss of the model itself."""
        middle = len(self.at) // 2
        return float(self.losses[middle, middle])

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Loss around {self.model}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        y, x = np.unravel_index(int(self.losses.argmin()), self.losses.shape)
        lowest = float(self.losses[y, x])
        found = []
        if lowest < self.centre:
            found.append(
                f"The model is not the lowest point: at ({self.at[int(x)]:.2g}, {self.at[int(y)]:.2g}) the loss on "
                "these "
                f"images is {lowest:.3f} instead of {self.centre:.3f}."
            )
        shape = f"{self.bent_down:.0%} of the second differences are negative: " + (
            "there are hills and valleys around the model" if self.bent_down >= ROUGH else "a smooth bowl"
        )
        edge = float(np.median(np.concatenate([self.losses[[0, -1]].ravel(), self.losses[:, [0, -1]].ravel()])))
        found.append(f"{shape}; at the edge the loss is {edge:.3g}, at the model {self.centre:.3g}.")
        found.append(
            "Two drawn directions of very many: what looks flat here may be steep elsewhere. Compare pictures of "
            "models "
            "made the same way, not one alone."
        )
        return tuple(found)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The losses along both directions through the model."""
        middle = len(self.at) // 2
        rows = tuple(zip(self.at, self.losses[middle].tolist(), self.losses[:, middle].tolist(), strict=True))
        return (Table(f"Over {many(self.images, 'image')}", ("step", "along the first", "along the second"), rows, 3),)

    @property
    def description(self) -> str:
        """The figure in words."""
        return (
            f"Lines of equal loss around the model over two drawn directions, {len(self.at)} by {len(self.at)} points "
            f"from {self.at[0]:g} to {self.at[-1]:g}: {self.centre:.3g} at the model, between {self.losses.min():.3g} "
            "and "
            f"{self.losses.max():.3g} in all."
        )

    def figure(self) -> Figure:
        """Lines of equal loss."""
        return weight_plane_figure(np.array(self.at), self.losses)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "title": self.title,
            "model": self.model,
            "images": self.images,
            "at": list(self.at),
            "losses": self.losses.tolist(),
            "bent_down": self.bent_down,
            "statistics": self.statistics,
            "normalised": self.normalised,
            "reading": list(self.interpretation),
        }


def weight_plane(
    model: Model,
    images: InspectedImages | Tensor,
    *,
    steps: int = 11,
    reach: float = 1.0,
    statistics: str = "as they are",
    normalised: bool = True,
    seed: int = 0,
) -> WeightPlane:
    """Loss at steps × steps points around a small network; biases, batch norms and a classifier's head stay.

    Args:
        images: with labels, a hundred or so: each point takes one pass over them.
        steps: along each direction, odd, so that the model itself is among them.
        reach: how far; 1: each filter is changed by as much as it is long.
        statistics: `as they are` keeps the model's batch-norm statistics, `re-estimated` measures them at each point.
        normalised: False: the drawn directions as they are; then a network with larger weights looks flatter.

    Raises:
        RecipeError: the network is too large, or the steps are even or fewer than five.
        DataError: the images have no labels, or of other classes than the model's.

    Source: Li et al. 2018, arXiv:1712.09913, section 4 (filter normalisation).
    """
    subject, images = inspected_model(model), InspectedImages.of(images)
    size = sum(weight.numel() for weight in subject.network.parameters())
    if size > MOST_PARAMETERS:
        raise RecipeError(
            expected=f"a network of {MOST_PARAMETERS:,} weights at most",
            found=f"{size:,}",
            where=subject.name,
            hint="The line between two sets of weights (weight_line) works for any size.",
        )
    if steps < 5 or steps % 2 == 0:
        raise RecipeError(expected="an odd number of steps, five or more", found=repr(steps), where="steps")
    check_statistics(statistics)
    at = torch.linspace(-reach, reach, steps, dtype=torch.float64)
    at[steps // 2] = 0.0
    losses = np.empty((steps, steps))
    with subject.eval_mode(weights=True), torch.no_grad():
        start = [weight.clone() for weight in subject.network.parameters()]
        first, second = (directions(subject.network, seed + i, normalised=normalised) for i in (0, 1))
        for row, b in enumerate(at.tolist()):
            for column, a in enumerate(at.tolist()):
                for weight, origin, d, e in zip(subject.network.parameters(), start, first, second, strict=True):
                    weight.copy_(origin + a * d + b * e)
                settle(subject, images, statistics)
                losses[row, column] = float(loss_of_images(subject, images)[0].mean())
    bent = bent_down(losses)
    return WeightPlane(subject.name, len(images), tuple(at.tolist()), losses, bent, statistics, normalised)


def directions(network: nn.Module, seed: int, *, normalised: bool = True) -> list[Tensor]:
    """A drawn direction: for each parameter a tensor of its shape; zero for biases and batch norms.

    Each filter (row of a linear layer) is given the length of the network's own: d ← d ‖θ‖ / ‖d‖.
    """
    generator, drawn = torch.Generator().manual_seed(seed), []
    for weight in network.parameters():
        if weight.ndim < 2:
            drawn.append(torch.zeros_like(weight))
            continue
        one = torch.randn(weight.shape, generator=generator).to(weight)
        if normalised:
            lengths = [part.detach().flatten(1).norm(dim=1).clamp_min(1e-30) for part in (weight, one)]
            one = one * (lengths[0] / lengths[1]).view(-1, *[1] * (weight.ndim - 1))
        drawn.append(one)
    return drawn


def bent_down(losses: NDArray[np.float64]) -> float:
    """Share of the second differences along rows and columns that are below zero; a bowl has none."""
    second = [np.diff(losses, 2, axis=axis).ravel() for axis in (0, 1)]
    return float((np.concatenate(second) < 0).mean())
