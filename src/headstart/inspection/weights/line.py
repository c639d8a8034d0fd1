"""Weight line: the loss on the straight line between two sets of weights, and the loss barrier on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, RecipeError
from headstart.evaluation.intervals import wilson
from headstart.figures.panels import Line, Plot, panels_figure
from headstart.figures.style import BLUE, MUTED, TEXT
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.weights.change import shared_tensors
from headstart.inspection.weights.loss_landscape import loss_of_images, reestimate_batch_norm
from headstart.wording import counted, percent

SIGNIFICANT = 2.0  # standard errors from which a barrier or a gain is more than noise
POINTS = 11


@dataclass(frozen=True)
class WeightLine(InspectionResult):
    """Loss and accuracy at P points between two networks.

    Args:
        shares: P, weight of the second network at each point, from 0 to 1.
        losses, accuracies: P, mean cross-entropy and share of correctly classified images.
        barrier: largest excess of the loss over the straight line between its ends; 0 where it is never above.
        barrier_at, barrier_error: its position, and its standard error over images.
        best_at: share with the lowest loss. gain, gain_error: by how much it is below the better end.
        reestimated: whether batch-norm statistics were re-estimated at each point instead of interpolated.
        batch_norms: layers that have such statistics.
    """

    before: str
    after: str
    images: int
    shares: tuple[float, ...]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    barrier: float
    barrier_at: float
    barrier_error: float
    best_at: float
    gain: float
    gain_error: float
    reestimated: bool
    batch_norms: int

    @property
    def title(self) -> str:
        """The two networks."""
        names = self.before if self.before == self.after else f"{self.before} and {self.after}"
        return f"Loss between {names} before and after training"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """Whether there is a barrier, and whether averaged weights are better."""
        if self.images < 2:
            return ("One image is too few to separate a barrier or a better point from noise.",)
        return self._on_barrier(), self._on_best()

    def _on_barrier(self) -> str:
        size = f"{self.barrier:.3f} ± {self.barrier_error:.3f}, {percent(self.barrier_at)} of the way to the second"
        if self.batch_norms:
            size += f"; batch-norm statistics {'re-estimated' if self.reestimated else 'interpolated'}"
        if self.barrier <= max(0.0, SIGNIFICANT * self.barrier_error):
            return f"No loss barrier between the two networks (largest excess {size}): their weights can be averaged."
        hint = " Re-estimate the batch-norm statistics first: weight_line(..., reestimate_statistics=True)."
        return f"Loss barrier between the two networks ({size}): do not average their weights." + (
            hint if self.batch_norms and not self.reestimated else ""
        )

    def _on_best(self) -> str:
        ends = f"loss {self.losses[0]:.3f} before, {self.losses[-1]:.3f} after"
        if self.gain <= SIGNIFICANT * self.gain_error or not 0 < self.best_at < 1:
            return f"No point between them is better than the better end by more than noise ({ends})."
        return (
            f"Averaged weights are better: with {percent(self.best_at)} of the second network the loss is "
            f"{self.gain:.3f} ± {self.gain_error:.3f} below the better end ({ends}). Choose this share on images "
            "outside the test set (WiSE-FT)."
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """Loss and accuracy at each point."""
        intervals = [wilson(round(share * self.images), self.images) for share in self.accuracies]
        rows = tuple(
            (share, loss, one.value, one.low, one.high)
            for share, loss, one in zip(self.shares, self.losses, intervals, strict=True)
        )
        columns = ("share of the second network", "loss", "accuracy", "low", "high")
        return (Table(f"On {counted(self.images, 'image')}", columns, rows, 3),)

    @property
    def description(self) -> str:
        """The figure in words."""
        return (
            f"The loss at {len(self.shares)} points from the weights before training (0) to those after it (1): "
            f"{self.losses[0]:.2f} at the start, {self.losses[-1]:.2f} at the end, {max(self.losses):.2f} at most; the "
            f"straight line between the ends; and the accuracy, from {percent(self.accuracies[0])} to "
            f"{percent(self.accuracies[-1])}."
        )

    def figure(self) -> Figure:
        """Loss with the straight line between its ends, and accuracy."""
        is_barrier = self.barrier > SIGNIFICANT * self.barrier_error
        ends = Line(
            "straight line between the ends", (0.0, 1.0), (self.losses[0], self.losses[-1]), MUTED, style="dashes"
        )
        loss = Plot(
            "Loss",
            (Line("interpolated weights", self.shares, self.losses, TEXT), ends),
            x_label="share of the second network",
            y_label="cross-entropy",
            marks=((self.barrier_at, f"barrier {self.barrier:.2g}"),) if is_barrier else (),
        )
        lines = (Line("", self.shares, self.accuracies, BLUE),)
        return panels_figure([loss, Plot("Accuracy", lines, x_label="share of the second network", y_label="accuracy")])


def weight_line(
    before: Model,
    after: Model,
    images: InspectedImages | Tensor,
    *,
    points: int = POINTS,
    reestimate_statistics: bool = False,
    calibration: InspectedImages | None = None,
) -> WeightLine:
    """Measure the loss at points on the straight line between two networks of one architecture, heads included.

    barrier = max over a of L((1-a) θ0 + a θ1) - ((1-a) L0 + a L1)

    Args:
        images: with labels; the loss is measured on them.
        points: on the line, both ends included.
        reestimate_statistics: re-estimate batch-norm statistics at each point, ends included, instead of interpolating
            them like weights.
        calibration: images for that, such as training images; None: the images.

    Raises:
        BackboneError: the networks differ in architecture, or their heads do not fit.
        DataError: the images have no labels, or labels of other classes than the model's.
        RecipeError: there are fewer than three points.

    Source: Frankle et al. 2020, arXiv:1912.05671 (error barrier, against the straight line instead of the mean of the
    ends); interpolation for better models: Wortsman et al. 2022, arXiv:2109.01903.
    """
    images = InspectedImages.of(images)
    if points < 3:
        raise RecipeError(expected="at least three points", found=repr(points), where="points")
    line = _Interpolation(inspected_model(before), inspected_model(after))
    shares = np.linspace(0.0, 1.0, points).tolist()
    measured = []
    with line.first.eval_mode(weights=True):
        for share in shares:
            mixed = line.at(share)
            if reestimate_statistics:
                reestimate_batch_norm(mixed, calibration or images)
            measured.append(loss_of_images(mixed, images))
    losses = torch.stack([loss for loss, _ in measured])  # P×N
    at = torch.tensor(shares, dtype=losses.dtype)[:, None]
    excess = losses - ((1 - at) * losses[0] + at * losses[-1])
    peak, best = int(excess.mean(1).argmax()), int(losses.mean(1).argmin())
    gains = (losses[0] if losses[0].mean() <= losses[-1].mean() else losses[-1]) - losses[best]
    return WeightLine(
        before=line.first.name,
        after=line.second.name,
        images=len(images),
        shares=tuple(shares),
        losses=tuple(losses.mean(1).tolist()),
        accuracies=tuple(float(correct.double().mean()) for _, correct in measured),
        barrier=float(excess[peak].mean()),
        barrier_at=shares[peak],
        barrier_error=_error(excess[peak]),
        best_at=shares[best],
        gain=float(gains.mean()),
        gain_error=_error(gains),
        reestimated=reestimate_statistics,
        batch_norms=sum(isinstance(module, _BatchNorm) for module in line.first.network.modules()),
    )


class _Interpolation:
    """The networks between two networks; interpolated weights are written into the first one."""

    def __init__(self, first: InspectedModel, second: InspectedModel) -> None:
        was, now = shared_tensors(first, second)
        has_head = first.classifier is not None
        if has_head != (second.classifier is not None) or ("head" in was) != has_head:
            raise BackboneError(
                expected="two networks with the same kind of head", found="heads that differ", where=first.name
            )
        self.first, self.second = first, second
        self._start = {name: value.clone() for name, value in was.items()}
        self._end = {name: value.clone() for name, value in now.items()}

    @torch.no_grad()
    def at(self, share: float) -> InspectedModel:
        """The network with this share of the second one; calibrated heads are interpolated as well."""
        for name, tensor in self.first.network.state_dict().items():
            if name in self._start and tensor.is_floating_point():
                tensor.copy_((1 - share) * self._start[name] + share * self._end[name])
        if self.first.classifier is None or self.second.classifier is None:
            return self.first
        a, b = self.first.classifier.head, self.second.classifier.head
        weight = (1 - share) * a.weight / a.temperature + share * b.weight / b.temperature
        bias = (1 - share) * a.bias / a.temperature + share * b.bias / b.temperature
        head = replace(a, weight=weight, bias=bias, temperature=1.0)
        mixed = Classifier(self.first.classifier.backbone, head, self.first.classifier.card)
        return replace(self.first, classifier=mixed)


def _error(values: Tensor) -> float:
    """Standard error of the mean over images; that the point was chosen is not taken into account."""
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else float("inf")
