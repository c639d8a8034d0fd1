"""Mode gap: what changes when batch norms use the statistics of the batch, as in training, instead of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.errors import DataError
from headstart.figures.panels import Bars, panels_figure
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspected_images import BATCH, InspectedImages
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table

STEADY = 0.95  # share of the same answers from which the modes agree: the rest are answers that were close anyway


@dataclass(frozen=True)
class ModeGap(InspectionResult):
    """Answers with the stored statistics against answers with those of the batch.

    Args:
        model: its name. images: how many were shown. batch: images that made statistics together.
        agreement: share of images with the same answer. stored, batched: accuracies; None without labels
            that name columns of its answers.
        norms: batch norms that were switched.
    """

    model: str
    images: int
    batch: int
    agreement: float
    stored: float | None
    batched: float | None
    norms: int

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Batch norm of {self.model}: stored statistics against those of {self.batch} images"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """Whether answers depend on the company an image is in."""
        if not self.norms:
            return (f"{self.model} has no batch norm: both modes are the same.",)
        if self.agreement >= STEADY:
            return (f"Both modes agree on {self.agreement:.0%} of the images: the stored statistics fit.",)
        told = [f"Answers differ on {1 - self.agreement:.0%} of the images: in train mode they depend on the batch."]
        if self.stored is not None and self.batched is not None:
            better = "Recalibrate: the batch knows better." if self.batched > self.stored else "Keep the stored ones."
            told.append(
                f"Accuracy is {self.stored:.3f} with stored, {self.batched:.3f} with batch statistics. {better}"
            )
        return tuple(told)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The numbers."""
        rows = tuple((name, value) for name, value in self._values() if value is not None)
        return (Table("Both modes", ("share", "value"), rows, 3),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        return "Bars: " + ", ".join(f"{name} {value:.3f}" for name, value in self._values() if value is not None) + "."

    def figure(self) -> Figure:
        """Agreement and accuracies as bars."""
        known = [(name, value) for name, value in self._values() if value is not None]
        names, values = zip(*known, strict=True)
        colours = (BLUE, BLUE, ORANGE)[: len(names)]
        return panels_figure(
            [Bars("Stored against batch statistics", names, values, "share of images", "{:.3f}", colours)]
        )

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return dict(vars(self))

    def _values(self) -> tuple[tuple[str, float | None], ...]:
        return (("same answer", self.agreement), ("right, stored", self.stored), ("right, batch", self.batched))


def mode_gap(model: Model, images: InspectedImages | Tensor, *, batch: int = BATCH, seed: int = 0) -> ModeGap:
    """Compare a network's answers with stored and with batch statistics, everything else in eval mode.

    Images are shuffled first, so that a batch is no single class.

    Args:
        batch: images that make statistics together, 2 or more; a last one alone joins the batch before.

    Raises:
        BackboneError: the network has no logits. DataError: fewer than two images, or a batch of one.

    Source: Wu and Johnson 2021, arXiv:2105.07576, section 5 (inconsistency of batch norm between training and test).
    """
    subject, images = inspected_model(model), InspectedImages.of(images)
    if len(images) < 2 or batch < 2:
        raise DataError(expected="two images or more in a batch", found=f"{len(images)} images, {batch}", where="batch")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    shown = images.take(order)
    parts = list(shown.batches(batch))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    norms = [module for module in subject.network.modules() if isinstance(module, _BatchNorm)]
    with subject.eval_mode(weights=True), torch.inference_mode():
        logits = torch.cat([subject.logits(part) for part in parts])
        _use_batches(norms)
        batched = torch.cat([subject.logits(part) for part in parts]).argmax(1)
    stored, labels = logits.argmax(1), subject.targets(shown, logits)
    right = [None if labels is None else float((one == labels).double().mean()) for one in (stored, batched)]
    agreement = float((stored == batched).double().mean())
    return ModeGap(subject.name, len(images), len(parts[0]), agreement, right[0], right[1], len(norms))


def _use_batches(norms: Sequence[nn.Module]) -> None:
    for norm in norms:
        norm.training = True  # not .train(): a frozen one would stay; mode and statistics are put back after the look
