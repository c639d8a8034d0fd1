"""Weight line: the loss on the straight way between two sets of weights, and the barrier that stands on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.classifier.classifier import Classifier
from headstart.errors import BackboneError, RecipeError
from headstart.figures.panels import Line, Plot, panels_figure
from headstart.figures.style import BLUE, MUTED, TEXT
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.weights.change import shared_tensors
from headstart.inspection.weights.loss_landscape import SETTLED, check_statistics, loss_of_images, settle
from headstart.inspection.wording import many
from headstart.plain import to_plain

SURE = 2.0  # standard errors from which a barrier or a gain is told from noise
POINTS = 11


@dataclass(frozen=True)
class WeightLine(InspectionResult):
    """Loss and accuracy at points between two networks.

    Args:
        shares: of the second network at each point, from 0 to 1.
        losses: mean cross-entropy at each point. right: share of right answers.
        barrier: largest excess of the loss over the straight line between its ends; 0 where it is never above.
        barrier_at, barrier_error: where, and its standard error over images.
        best_at: share with the lowest loss. gain, gain_error: by which it is below the better end.
        statistics: see `landscape.SETTLED`. norms: batch norms that have some.
    """

    before: str
    after: str
    images: int
    shares: tuple[float, ...]
    losses: tuple[float, ...]
    right: tuple[float, ...]
    barrier: float
    barrier_at: float
    barrier_error: float
    best_at: float
    gain: float
    gain_error: float
    statistics: str
    norms: int

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"From {self.before} before to after training"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        if self.images < 2:
            return ("One image is too few to tell a barrier or a better point on the way from chance.",)
        return self._on_barrier(), self._on_best()

    def _on_barrier(self) -> str:
        size = f"{self.barrier:.3f} ± {self.barrier_error:.3f} at {self.barrier_at:.0%} of the way"
        size += f"; batch-norm statistics {self.statistics}" if self.norms else ""
        if self.barrier > SURE * self.barrier_error and self.barrier > 0:
            hint = ""
            if self.norms and self.statistics == SETTLED[0]:
                call = f'weight_line(..., statistics="{SETTLED[1]}")'
                hint = f" Try {call} first: the statistics may be all there is to it."
            return f"A barrier stands between the two ({size}): do not average these weights.{hint}"
        return f"No barrier stands between the two (largest excess {size}): their weights may be averaged."

    def _on_best(self) -> str:
        ends = f"loss {self.losses[0]:.3f} before, {self.losses[-1]:.3f} after"
        if self.gain > SURE * self.gain_error and 0 < self.best_at < 1:
            return (
                f"Best is {self.best_at:.0%} of the way: its loss is {self.gain:.3f} ± {self.gain_error:.3f} below the "
                f"better end ({ends}). Averaged weights would be the better model (WiSE-FT); choose the share on "
                "images "
                "that are not the test's."
            )
        return f"No point on the way is better than the better end by more than noise ({ends})."

    @property
    def tables(self) -> tuple[Table, ...]:
        """Loss and accuracy at each point."""
        rows = tuple(zip(self.shares, self.losses, self.right, strict=True))
        return (Table(f"Over {many(self.images, 'image')}", ("share of after", "loss", "right"), rows, 3),)

    @property
    def description(self) -> str:
        """The figure in words."""
        return (
            f"The loss along {len(self.shares)} points from the weights before (0) to those after training (1): "
            f"{self.losses[0]:.2f} at the start, {self.losses[-1]:.2f} at the end, {max(self.losses):.2f} at most, "
            "with "
            f"the straight line between the ends; beside it the share of right answers, {self.right[0]:.0%} to "
            f"{self.right[-1]:.0%}."
        )

    def figure(self) -> Figure:
        """Loss with the straight line between its ends, and accuracy."""
        marks = ((self.barrier_at, f"barrier {self.barrier:.2g}"),) if self.barrier > SURE * self.barrier_error else ()
        ends = Line("straight between the ends", (0.0, 1.0), (self.losses[0], self.losses[-1]), MUTED, "dashes")
        lines = (Line("on the way", self.shares, self.losses, TEXT), ends)
        loss = Plot("Loss", lines, "share of after", "cross-entropy", marks=marks)
        right = Plot("Right answers", (Line("", self.shares, self.right, BLUE),), "share of after", "accuracy")
        return panels_figure([loss, right])

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        values = to_plain(vars(self))
        return {"title": self.title, **values, "reading": list(self.interpretation)}


def weight_line(
    before: Model,
    after: Model,
    images: InspectedImages | Tensor,
    *,
    points: int = POINTS,
    statistics: str = "as they are",
    calibration: InspectedImages | None = None,
) -> WeightLine:
    """Loss at points on the straight line between two networks of one kind, heads included, and its barrier.

    barrier = max over a of L((1-a) θ0 + a θ1) - ((1-a) L0 + a L1)

    Args:
        images: with labels; the loss is measured on them.
        points: on the line, both ends included.
        statistics: `as they are`: batch norm's statistics are interpolated as weights are; `re-estimated`: measured
            anew at each point, ends included, on `calibration` (images of training), else on the images.

    Raises:
        BackboneError: the networks are not of one kind, or their heads do not fit.
        DataError: the images have no labels, or of other classes than the model's.
        RecipeError: there are fewer than three points, or the statistics are unknown.

    Source: Frankle et al. 2020, arXiv:1912.05671 (error barrier, against the straight line instead of the mean of the
    ends); the line as a way to better models: Wortsman et al. 2022, arXiv:2109.01903.
    """
    first, second, images = inspected_model(before), inspected_model(after), InspectedImages.of(images)
    if points < 3:
        raise RecipeError(expected="three points or more", found=repr(points), where="points")
    check_statistics(statistics)
    was, now = shared_tensors(first, second)
    if (first.classifier is None) != (second.classifier is None) or ("head" in was) != (first.classifier is not None):
        raise BackboneError(expected="two networks with heads of one kind", found="heads that differ", where=first.name)
    shares = np.linspace(0.0, 1.0, points)
    start = {name: value.clone() for name, value in was.items()}  # the network itself is written over
    end = {name: value.clone() for name, value in now.items()}
    losses, rights = [], []
    with first.eval_mode(weights=True):
        for share in shares.tolist():
            mixed = _mix(first, second, start, end, share)
            settle(mixed, calibration or images, statistics)
            loss, right = loss_of_images(mixed, images)
            losses.append(loss)
            rights.append(float(right.double().mean()))
    return _measured(first, second, shares.tolist(), torch.stack(losses), rights, statistics)


@torch.no_grad()
def _mix(
    first: InspectedModel, second: InspectedModel, start: dict[str, Tensor], end: dict[str, Tensor], share: float
) -> InspectedModel:
    """The first network with weights on the way written into it, under a head on the way."""
    for name, tensor in first.network.state_dict().items():
        if name in start and tensor.is_floating_point():
            tensor.copy_((1 - share) * start[name] + share * end[name])
    if first.classifier is None or second.classifier is None:
        return first
    a, b = first.classifier.head, second.classifier.head
    weight = (1 - share) * a.weight / a.temperature + share * b.weight / b.temperature
    bias = (1 - share) * a.bias / a.temperature + share * b.bias / b.temperature
    head = replace(a, weight=weight, bias=bias, temperature=1.0)
    return replace(first, classifier=Classifier(first.classifier.backbone, head, first.classifier.card))


def _measured(
    first: InspectedModel,
    second: InspectedModel,
    shares: list[float],
    losses: Tensor,
    right: list[float],
    statistics: str,
) -> WeightLine:
    """The numbers of the line from the losses of all points and images, P×N."""
    at = torch.tensor(shares, dtype=losses.dtype)[:, None]
    excess = losses - ((1 - at) * losses[0] + at * losses[-1])
    top = int(excess.mean(1).argmax())
    best = int(losses.mean(1).argmin())
    better_end = losses[0] if losses[0].mean() <= losses[-1].mean() else losses[-1]
    gains = better_end - losses[best]
    count = losses.shape[1]
    return WeightLine(
        first.name,
        second.name,
        count,
        tuple(shares),
        tuple(losses.mean(1).tolist()),
        tuple(right),
        float(excess[top].mean()),
        shares[top],
        _error(excess[top]),
        shares[best],
        float(gains.mean()),
        _error(gains),
        statistics,
        sum(isinstance(module, _BatchNorm) for module in first.network.modules()),
    )


def _error(values: Tensor) -> float:
    """Standard error of the mean over images; the point itself was chosen, which it does not count."""
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else float("inf")
