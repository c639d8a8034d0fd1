"""Mode gap: what changes when batch norms use the statistics of the batch, as in training, instead of stored ones."""

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
from headstart.wording import counted, percent

STEADY = 0.95  # share of equal predictions from which the modes agree: the other images are close to a boundary


@dataclass(frozen=True)
class ModeGap(InspectionResult):
    """Predictions with the stored statistics against predictions with those of the batch.

    Args:
        model: its name.
        images: how many were analysed.
        batch: images that share their statistics.
        agreement: share of images with the same prediction.
        stored, batched: accuracies; None without labels that name classes of the model.
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
        """Of the page's section."""
        return f"Batch norm of {self.model}: stored statistics against those of {counted(self.batch, 'image')}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """Whether predictions depend on the other images in the batch."""
        if not self.norms:
            return (f"{self.model} has no batch norm: both modes are the same.",)
        if self.agreement >= STEADY:
            return (f"Both modes agree on {percent(self.agreement)} of the images: the stored statistics fit.",)
        differ = percent(1 - self.agreement)
        sentences = [f"Predictions differ on {differ} of the images: in train mode they depend on the batch."]
        if self.stored is not None and self.batched is not None:
            better = (
                "Recalibrate the statistics: those of the batch are better."
                if self.batched > self.stored
                else "Keep the stored statistics."
            )
            sentences.append(
                f"Accuracy is {percent(self.stored)} with stored and {percent(self.batched)} with batch statistics. "
                f"{better}"
            )
        return tuple(sentences)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The numbers."""
        return (Table("Both modes", ("share", "value"), self._values, 3),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        return "Bars: " + ", ".join(f"{name} {value:.3f}" for name, value in self._values) + "."

    def figure(self) -> Figure:
        """Agreement and accuracies as bars."""
        names, values = zip(*self._values, strict=True)
        colors = (BLUE, BLUE, ORANGE)[: len(names)]
        title, axis = "Stored against batch statistics", "share of images"
        return panels_figure([Bars(title, names, values, x_label=axis, form="{:.3f}", colors=colors)])

    @property
    def _values(self) -> tuple[tuple[str, float], ...]:
        values = (
            ("same prediction", self.agreement),
            ("accuracy, stored", self.stored),
            ("accuracy, batch", self.batched),
        )
        return tuple((name, value) for name, value in values if value is not None)


def mode_gap(model: Model, images: InspectedImages | Tensor, *, batch: int = BATCH, seed: int = 0) -> ModeGap:
    """Compare a network's predictions with stored and with batch statistics, everything else in eval mode.

    Images are shuffled first, so that a batch is no single class.

    Args:
        batch: images that share their statistics, 2 or more; a last one alone joins the batch before.

    Raises:
        BackboneError: the network has no logits.
        DataError: fewer than two images, or a batch of one.

    Source: Wu and Johnson 2021, arXiv:2105.07576, section 5 (inconsistency of batch norm between training and test).
    """
    inspected, images = inspected_model(model), InspectedImages.of(images)
    if len(images) < 2 or batch < 2:
        raise DataError(
            expected="two images or more in a batch", found=f"{len(images)} images, batches of {batch}", where="batch"
        )
    shuffled = images.take(torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)))
    batches = list(shuffled.batches(batch))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    norms = [module for module in inspected.network.modules() if isinstance(module, _BatchNorm)]
    with inspected.eval_mode(weights=True), torch.inference_mode():
        logits = torch.cat([inspected.logits(pixels) for pixels in batches])
        _use_batch_statistics(norms)
        batched = torch.cat([inspected.logits(pixels) for pixels in batches]).argmax(1)
    stored, targets = logits.argmax(1), inspected.targets(shuffled, logits)
    accuracies = [None if targets is None else float((one == targets).double().mean()) for one in (stored, batched)]
    return ModeGap(
        inspected.name,
        len(images),
        batch=len(batches[0]),
        agreement=float((stored == batched).double().mean()),
        stored=accuracies[0],
        batched=accuracies[1],
        norms=len(norms),
    )


def _use_batch_statistics(norms: Sequence[nn.Module]) -> None:
    for norm in norms:
        norm.training = True  # not .train(): a frozen one would stay; modes and statistics are restored afterwards
