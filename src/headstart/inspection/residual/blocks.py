"""Residual lens: what every block of a residual network adds to what passes it by, and what it is good for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from headstart.figures.panels import Line, Plot, panels_figure
from headstart.figures.style import BLUE, MUTED, ORANGE, shorten
from headstart.inspection.batch_norm.channel_moments import Array, drawn_shares
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.residual.block_measurements import (
    GRADIENT_IMAGES,
    Norms,
    gradient_shares,
    logits_without,
    measure,
)
from headstart.inspection.residual.interpretation import lens_reading
from headstart.inspection.residual.residual_sums import Junction, find_junctions

_Z = 1.959964  # 95 %


@dataclass(frozen=True)
class BlockMeasurement:
    """One place where a branch is added to a shortcut.

    Args:
        name: of the module that adds. projection: whether the shortcut is more than the identity.
        share: mean |branch| over mean |branch + shortcut|, with its 95 % interval low to high.
        cosine: of branch and shortcut, mean over the images.
        gradient: share of the gradient before the block that came through the branch; None without logits.
        accuracy: without the block. change: of the accuracy, with its 95 % interval. None without lesions.
    """

    name: str
    projection: bool
    share: float
    share_low: float
    share_high: float
    cosine: float
    gradient: float | None = None
    accuracy: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None


@dataclass(frozen=True)
class ResidualAnalysis(InspectionResult):
    """What the blocks of a network do with some images.

    Args:
        model: its name. images: how many were shown.
        blocks: in the order of the forward pass; empty: the network has none.
        accuracy: with all blocks; None without logits. against: what answers are compared with: `labels`, or
            `own answers` where no labels fit the network's classes, so that accuracy is the share of answers kept.
    """

    model: str
    images: int
    blocks: tuple[BlockMeasurement, ...]
    accuracy: float | None
    against: str

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Residual blocks of {self.model} on {self.images} images"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What the blocks do, and which may go."""
        return lens_reading(self)

    @property
    def has_lesions(self) -> bool:
        """Whether blocks were left out."""
        return bool(self.blocks) and self.blocks[0].change is not None

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every block's numbers."""
        if not self.blocks:
            return ()
        heads: tuple[str, ...] = ("block", "shortcut", "share", "low", "high", "cosine")
        heads += ("gradient",) * (self.accuracy is not None) + (
            "without it",
            "change",
            "low",
            "high",
        ) * self.has_lesions
        return (Table("Blocks in their order", heads, tuple(_row(block) for block in self.blocks)),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        if not self.blocks:
            return "No picture: there are no residual blocks."
        most = max(self.blocks, key=lambda block: block.share)
        told = f"Share of the branch over {len(self.blocks)} blocks, most at {most.name} with {most.share:.2f}"
        if self.has_lesions:
            worst = min(self.blocks, key=lambda block: block.change or 0.0)
            told += f"; accuracy without each block, least without {worst.name}: {worst.accuracy:.3f}"
        return f"{told}."

    def figure(self) -> Figure:
        """Share and gradient, cosine, and accuracy without each block, over the depth."""
        if not self.blocks:
            return panels_figure([Plot("No residual blocks", (Line("", (0.0,), (0.0,)),))])
        return panels_figure(_panels(self))

    def to_dict(self) -> dict[str, object]:
        """Everything as plain values."""
        return {
            **asdict(self),
            "blocks": [asdict(block) for block in self.blocks],
            "reading": list(self.interpretation),
        }


def residual_blocks(
    model: Model, images: InspectedImages | Tensor, *, lesions: bool = True, seed: int = 0
) -> ResidualAnalysis:
    """Measure what each residual block adds, how gradients pass it, and what is lost without it.

    Blocks are found by watching the network add (see `junctions`, also for networks where that needs a word from their
    author). One pass measures shares and cosines, gradients take 24 images; leaving blocks out takes one pass for each.

    Args:
        images: with labels of the network's own classes accuracy is counted against them, else against the answers
            of the whole network.
        lesions: leave each block out once.
        seed: of the draws behind the intervals of the shares.

    Raises:
        DataError: there are no images.

    Source: Veit et al. 2016, arXiv:1605.06431, section 4.1 (single lesions; the projection stays, as theirs did); share
        and cosine as in De and Smith 2020, arXiv:2002.10444, and Jastrzębski et al. 2018, arXiv:1710.04773. The
        interval of a change is that of Agresti and Min 2005 for matched pairs (half an answer added to each cell).
    """
    subject, images = inspected_model(model), InspectedImages.of(images)
    with subject.eval_mode():
        with torch.no_grad():
            junctions = find_junctions(subject.network, _runner(subject), images.pixels[:2])
        if not junctions:
            return ResidualAnalysis(subject.name, len(images), (), None, "")
        norms, logits = measure(subject, junctions, images.pixels)
        looks = _shares(junctions, norms, drawn_shares(len(images), seed))
        if logits is None:
            return ResidualAnalysis(subject.name, len(images), tuple(looks), None, "")
        labels, against = _labels(subject, images, logits)
        right = logits.argmax(1) == labels
        some = slice(0, GRADIENT_IMAGES)
        through = gradient_shares(subject, junctions, images.pixels[some], labels[some])
        blocks = [_with(look, gradient=share) for look, share in zip(looks, through, strict=True)]
        if lesions:
            without = [logits_without(subject, junction, images.pixels).argmax(1) == labels for junction in junctions]
            blocks = [_with(block, **_change(right, now)) for block, now in zip(blocks, without, strict=True)]
    return ResidualAnalysis(subject.name, len(images), tuple(blocks), int(right.sum()) / len(right), against)


def paired_interval(lost: int, won: int, pairs: int) -> tuple[float, float, float]:
    """Change of a share in matched pairs, and its 95 % interval.

    Args:
        lost: pairs right before and wrong after. won: the other way round. pairs: all.

    Source: Agresti and Min 2005, Statistics in Medicine 24, 729-740: Wald's interval with ½ added to each of the four
        cells; it keeps a width where nothing changed.
    """
    more, fewer, whole = won + 0.5, lost + 0.5, pairs + 2
    middle = (more - fewer) / whole
    half = _Z * float(np.sqrt(more + fewer - (more - fewer) ** 2 / whole)) / whole
    return (won - lost) / pairs, middle - half, middle + half


def _shares(junctions: Sequence[Junction], norms: Norms, drawn: Array) -> list[BlockMeasurement]:
    branch, shortcut, whole, dot = (one.numpy() for one in (norms.branch, norms.shortcut, norms.whole, norms.dot))
    shares = branch.mean(0) / np.maximum(whole.mean(0), 1e-30)
    low, high = np.quantile((drawn @ branch) / np.maximum(drawn @ whole, 1e-30), (0.025, 0.975), axis=0)
    cosines = (dot / np.maximum(branch * shortcut, 1e-30)).mean(0)
    return [
        BlockMeasurement(one.name, not one.straight, float(shares[k]), float(low[k]), float(high[k]), float(cosines[k]))
        for k, one in enumerate(junctions)
    ]


def _change(before: Tensor, after: Tensor) -> dict[str, float]:
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    change, low, high = paired_interval(lost, won, len(before))
    return {"accuracy": int(after.sum()) / len(after), "change": change, "change_low": low, "change_high": high}


def _labels(subject: InspectedModel, images: InspectedImages, logits: Tensor) -> tuple[Tensor, str]:
    """Columns of the right classes, or of the answers where the labels name no classes of the network."""
    labels = subject.targets(images, logits)
    return (logits.argmax(1), "own answers") if labels is None else (labels, "labels")


def _runner(subject: InspectedModel) -> Callable[[Tensor], object]:
    return subject.logits if subject.has_logits else subject.network


def _with(block: BlockMeasurement, **values: float) -> BlockMeasurement:
    return BlockMeasurement(**{**asdict(block), **values})


def _row(block: BlockMeasurement) -> tuple[str | int | float, ...]:
    numbers = (block.gradient, block.accuracy, block.change, block.change_low, block.change_high)
    kind = "projection" if block.projection else "identity"
    told = tuple(value for value in numbers if value is not None)
    return (block.name, kind, block.share, block.share_low, block.share_high, block.cosine, *told)


def _panels(lens: ResidualAnalysis) -> list[Plot]:
    blocks = lens.blocks
    at = range(1, len(blocks) + 1)
    lines = [Line("of what leaves the block", at, [block.share for block in blocks], BLUE)]
    if lens.accuracy is not None:
        lines.append(Line("of the gradient", at, [block.gradient or 0.0 for block in blocks], ORANGE))
    marks = tuple((float(k), shorten(block.name)) for k, block in zip(at, blocks, strict=True) if block.projection)
    panels = [
        Plot("Share of the branch", tuple(lines), "block", "share", marks=marks),
        Plot("Branch against shortcut", (Line("", at, [block.cosine for block in blocks], BLUE),), "block", "cosine"),
    ]
    if lens.has_lesions and lens.accuracy is not None:
        low, high = ([lens.accuracy + (value or 0.0) for value in ends] for ends in _ends(blocks))
        lesion = (
            Line("without the block", at, [block.accuracy or 0.0 for block in blocks], ORANGE, "dots"),
            Line("95 %", at, low, ORANGE, "dashes"),
            Line("", at, high, ORANGE, "dashes"),
            Line("with all", at, [lens.accuracy] * len(blocks), MUTED),
        )
        word = "accuracy" if lens.against == "labels" else "answers kept"
        panels.append(Plot(f"{word.capitalize()} without it", lesion, "block", word))
    return panels


def _ends(blocks: Sequence[BlockMeasurement]) -> tuple[list[float | None], list[float | None]]:
    return [block.change_low for block in blocks], [block.change_high for block in blocks]
