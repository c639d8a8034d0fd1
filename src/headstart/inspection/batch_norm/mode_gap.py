"""Mode gap: what changes when batch norms use the statistics of the batch, as in training, instead of stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.errors import DataError
from headstart.evaluation.intervals import Interval, points, wilson
from headstart.evaluation.paired import PairedDifference, paired_difference
from headstart.figures.panels import Bars, panels_figure
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspected_images import BATCH, InspectedImages
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.wording import counted

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
        gain: of the batch's statistics over the stored ones, in pairs; None as these.
        norms: batch norms that were switched.
    """

    model: str
    images: int
    batch: int
    agreement: Interval
    stored: Interval | None
    batched: Interval | None
    gain: PairedDifference | None
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
        if self.agreement.value >= STEADY:
            return (f"Both modes agree on {self.agreement} of the images: the stored statistics fit.",)
        sentences = [
            f"Predictions agree on {self.agreement} of the images only: in train mode they depend on the batch."
        ]
        if self.stored is not None and self.batched is not None and self.gain is not None:
            sentences.append(
                f"Accuracy is {self.stored} with stored and {self.batched} with batch statistics "
                f"({points(self.gain.difference)}). {_advice(self.gain)}"
            )
        return tuple(sentences)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The numbers."""
        rows = tuple((name, one.value, one.low, one.high) for name, one in self._values)
        if self.gain is not None:
            one = self.gain.difference
            rows += (("difference of the accuracies", one.value, one.low, one.high),)
        return (Table("Both modes", ("share", "value", "low", "high"), rows, 3),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        return "Bars: " + ", ".join(f"{name} {one.value:.3f}" for name, one in self._values) + "."

    def figure(self) -> Figure:
        """Agreement and accuracies as bars."""
        names, values = zip(*((name, one.value) for name, one in self._values), strict=True)
        colors = (BLUE, BLUE, ORANGE)[: len(names)]
        title, axis = "Stored against batch statistics", "share of images"
        return panels_figure([Bars(title, names, values, x_label=axis, form="{:.3f}", colors=colors)])

    @property
    def _values(self) -> tuple[tuple[str, Interval], ...]:
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
    hits = None if targets is None else [(one == targets).numpy() for one in (stored, batched)]
    accuracies = [None, None] if hits is None else [wilson(int(one.sum()), len(images)) for one in hits]
    return ModeGap(
        inspected.name,
        len(images),
        batch=len(batches[0]),
        agreement=wilson(int((stored == batched).sum()), len(images)),
        stored=accuracies[0],
        batched=accuracies[1],
        gain=None if hits is None else paired_difference(hits[1].astype(int) - hits[0]),
        norms=len(norms),
    )


def _advice(gain: PairedDifference) -> str:
    if not gain.is_significant:
        return "On so few images neither is better: keep the stored statistics."
    better = gain.difference.value > 0
    return "Recalibrate the statistics: those of the batch are better." if better else "Keep the stored statistics."


def _use_batch_statistics(norms: Sequence[nn.Module]) -> None:
    for norm in norms:
        norm.training = True  # not .train(): a frozen one would stay; modes and statistics are restored afterwards
