"""Weight plane: the loss around a small network over two random directions that are scaled filter by filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from headstart.inspection.weights.loss_landscape import loss_of_images, reestimate_batch_norm
from headstart.wording import counted, percent

GRID = tuple((-10 + 2 * i) / 10 for i in range(11))  # 121 points

MOST_PARAMETERS = 2_000_000
"""Of the network: the plane takes 121 passes over the images; ResNet-18 would take ten minutes for 150 photos."""

ROUGH = 0.25
"""Share of negative second differences from which the interpretation speaks of hills. A bowl that flattens outwards has
some: 0.1 for a one-dimensional 1 - exp(-x²) over the range that is drawn. Our choice."""


@dataclass(frozen=True, eq=False)
class WeightPlane(InspectionResult):
    """Losses on a square of weights.

    Args:
        images: how many the loss was measured on.
        at: P positions along each direction; 1 changes each filter by its own length.
        losses: P×P, second direction × first.
        negative_curvature: share of second differences along rows and columns that are negative.
        reestimated: whether batch-norm statistics were re-estimated at each point.
        normalised: whether directions were scaled filter by filter.
    """

    model: str
    images: int
    at: tuple[float, ...]
    losses: NDArray[np.float64]
    negative_curvature: float
    reestimated: bool
    normalised: bool

    @property
    def centre(self) -> float:
        """Loss of the model itself."""
        middle = len(self.at) // 2
        return float(self.losses[middle, middle])

    @property
    def title(self) -> str:
        """The model."""
        return f"Loss around {self.model}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """Whether the model is a minimum, the shape around it, and what two directions cannot show."""
        y, x = np.unravel_index(int(self.losses.argmin()), self.losses.shape)
        lowest = float(self.losses[y, x])
        found = []
        if lowest < self.centre:
            found.append(
                f"The model is not the lowest point: at ({self.at[int(x)]:.2g}, {self.at[int(y)]:.2g}) the loss on "
                f"these images is {lowest:.3f} instead of {self.centre:.3f}."
            )
        shape = "hills and valleys around the model" if self.negative_curvature >= ROUGH else "a smooth bowl"
        edge = float(np.median(np.concatenate([self.losses[[0, -1]].ravel(), self.losses[:, [0, -1]].ravel()])))
        found.append(
            f"The loss surface is {shape}: {percent(self.negative_curvature)} of the second differences are negative. "
            f"The loss is {self.centre:.3g} at the model and {edge:.3g} at the edge."
        )
        found.append(
            "These are two random directions of very many: a surface that is flat here can be steep in others. Compare "
            "planes of models made the same way instead of interpreting one alone."
        )
        return tuple(found)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The losses along both directions through the model."""
        middle = len(self.at) // 2
        rows = tuple(zip(self.at, self.losses[middle].tolist(), self.losses[:, middle].tolist(), strict=True))
        columns = ("position", "loss along the first direction", "loss along the second")
        return (Table(f"On {counted(self.images, 'image')}", columns, rows, 3),)

    @property
    def description(self) -> str:
        """The figure in words."""
        return (
            f"Contour lines of the loss around the model over two random directions, {len(self.at)} by {len(self.at)} "
            f"points from {self.at[0]:g} to {self.at[-1]:g}: {self.centre:.3g} at the model, between "
            f"{self.losses.min():.3g} and {self.losses.max():.3g} overall."
        )

    def figure(self) -> Figure:
        """Contour lines of the loss."""
        return weight_plane_figure(np.array(self.at), self.losses)


def weight_plane(
    model: Model,
    images: InspectedImages | Tensor,
    *,
    at: Sequence[float] = GRID,
    reestimate_statistics: bool = False,
    normalised: bool = True,
    seed: int = 0,
) -> WeightPlane:
    """Measure the loss on a grid around a small network; biases, batch norms and a classifier's head stay fixed.

    Args:
        images: with labels, a hundred or so: each point takes one pass over them.
        at: positions along both directions, increasing, 0 (the model) in the middle; 1 changes each filter by its own
            length.
        reestimate_statistics: re-estimate batch-norm statistics at each point instead of keeping the model's.
        normalised: False: unscaled directions, in which a network with larger weights seems flatter.

    Raises:
        RecipeError: the network is too large, or the positions are not such a grid.
        DataError: the images have no labels, or labels of other classes than the model's.

    Source: Li et al. 2018, arXiv:1712.09913, section 4 (filter normalisation).
    """
    inspected, images = inspected_model(model), InspectedImages.of(images)
    _check(at, sum(weight.numel() for weight in inspected.network.parameters()), inspected.name)
    losses = np.empty((len(at), len(at)))
    with inspected.eval_mode(weights=True), torch.no_grad():
        start = [weight.clone() for weight in inspected.network.parameters()]
        first, second = (random_direction(inspected.network, seed + i, normalised=normalised) for i in (0, 1))
        for row, b in enumerate(at):
            for column, a in enumerate(at):
                for weight, origin, d, e in zip(inspected.network.parameters(), start, first, second, strict=True):
                    weight.copy_(origin + a * d + b * e)
                if reestimate_statistics:
                    reestimate_batch_norm(inspected, images)
                losses[row, column] = float(loss_of_images(inspected, images)[0].mean())
    return WeightPlane(
        model=inspected.name,
        images=len(images),
        at=tuple(map(float, at)),
        losses=losses,
        negative_curvature=negative_curvature(losses),
        reestimated=reestimate_statistics,
        normalised=normalised,
    )


def random_direction(network: nn.Module, seed: int, *, normalised: bool = True) -> list[Tensor]:
    """A random direction: for each parameter a tensor of its shape; zero for biases and batch norms.

    Each filter (row of a linear layer) is scaled to the length of the network's own: d ← d ‖θ‖ / ‖d‖.
    """
    generator, direction = torch.Generator().manual_seed(seed), []
    for weight in network.parameters():
        if weight.ndim < 2:
            direction.append(torch.zeros_like(weight))
            continue
        drawn = torch.randn(weight.shape, generator=generator).to(weight)
        if normalised:
            lengths = [one.detach().flatten(1).norm(dim=1).clamp_min(1e-30) for one in (weight, drawn)]
            drawn = drawn * (lengths[0] / lengths[1]).view(-1, *[1] * (weight.ndim - 1))
        direction.append(drawn)
    return direction


def negative_curvature(losses: NDArray[np.float64]) -> float:
    """Share of the second differences along rows and columns that are below zero; a bowl has none."""
    second = [np.diff(losses, 2, axis=axis).ravel() for axis in (0, 1)]
    return float((np.concatenate(second) < 0).mean())


def _check(at: Sequence[float], size: int, name: str) -> None:
    if size > MOST_PARAMETERS:
        raise RecipeError(
            expected=f"a network of at most {MOST_PARAMETERS:,} weights",
            found=f"{size:,}",
            where=name,
            hint="The line between two sets of weights (weight_line) works for any size.",
        )
    if len(at) < 5 or len(at) % 2 == 0 or at[len(at) // 2] != 0 or not bool((np.diff(at) > 0).all()):
        raise RecipeError(
            expected="an odd number of increasing positions, five or more, with 0 in the middle",
            found=repr(tuple(at)),
            where="at",
        )
