"""Residual analysis: what each block of a residual network adds to its shortcut, and what is lost without the block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from headstart.evaluation.intervals import CONFIDENCE, Interval
from headstart.figures.panels import Line, Plot, panels_figure
from headstart.figures.style import BLUE, MUTED, ORANGE, shorten
from headstart.inspection.batch_norm.channel_moments import Array, bootstrap_weights
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.residual.block_measurements import (
    GRADIENT_IMAGES,
    BlockMeasurement,
    Norms,
    ResidualNetwork,
    gradient_shares,
    logits_without,
    measure_norms,
)
from headstart.inspection.residual.interpretation import interpret_ablation, interpret_gradients, interpret_shares
from headstart.inspection.residual.residual_sums import ResidualSum
from headstart.wording import counted


@dataclass(frozen=True)
class ResidualAnalysis(InspectionResult):
    """What the blocks of a network do with some images.

    Args:
        model: its name.
        images: how many were analysed.
        blocks: in the order of the forward pass; empty: the network has none.
        accuracy: with all blocks; None without logits.
        compared_with: what predictions are compared with: `labels`, or `own predictions` where no labels fit the
            network's classes: accuracy is then the share of predictions that stay the same.
    """

    model: str
    images: int
    blocks: tuple[BlockMeasurement, ...]
    accuracy: float | None = None
    compared_with: str = ""

    @property
    def title(self) -> str:
        """Of the page's section."""
        return f"Residual blocks of {self.model} on {counted(self.images, 'image')}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """How the blocks work, and which can be removed."""
        if not self.blocks:
            return (
                f"{self.model} has no residual blocks: no operation adds a branch to a shortcut. If it has blocks of "
                "an unusual kind, set `residual_shortcut = 0` (or 1) on the module that adds: the operand that is the "
                "shortcut.",
            )
        ablation = interpret_ablation(self.blocks, self._measured) if self.accuracy is not None else ()
        return (*ablation, *interpret_shares(self.blocks), *interpret_gradients(self.blocks))

    @property
    def has_ablation(self) -> bool:
        """Whether each block was left out once."""
        return bool(self.blocks) and self.blocks[0].change is not None

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every block's numbers."""
        if not self.blocks:
            return ()
        heads: tuple[str, ...] = ("block", "shortcut", "share", "low", "high", "cosine")
        heads += ("gradient",) * (self.accuracy is not None)
        heads += ("without it", "change", "low", "high") * self.has_ablation
        return (Table("Blocks in their order", heads, tuple(map(_row, self.blocks))),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        if not self.blocks:
            return "No figure: there are no residual blocks."
        most = max(self.blocks, key=lambda block: block.share)
        words = f"Share of the branch in {counted(len(self.blocks), 'block')}, highest in {most.name}: {most.share:.2f}"
        if self.has_ablation:
            worst = min(self.blocks, key=lambda block: block.change or 0.0)
            words += f"; {self._measured} without each block, lowest without {worst.name}: {worst.accuracy:.3f}"
        return f"{words}."

    def figure(self) -> Figure:
        """Share and gradient, cosine, and accuracy without each block, over the depth."""
        if not self.blocks:
            return panels_figure([Plot("No residual blocks", (Line("", (0.0,), (0.0,)),))])
        return panels_figure(self._panels())

    @property
    def _measured(self) -> str:
        return "accuracy" if self.compared_with == "labels" else "share of unchanged predictions"

    def _panels(self) -> list[Plot]:
        blocks, at = self.blocks, range(1, len(self.blocks) + 1)
        lines = [Line("of the block's output", at, [block.share for block in blocks], BLUE)]
        if self.accuracy is not None:
            lines.append(Line("of the gradient", at, [block.gradient or 0.0 for block in blocks], ORANGE))
        marks = tuple((float(k), shorten(block.name)) for k, block in zip(at, blocks, strict=True) if block.projection)
        cosines = Line("", at, [block.cosine for block in blocks], BLUE)
        panels = [
            Plot("Share of the branch", tuple(lines), "block", "share", marks=marks),
            Plot("Branch against shortcut", (cosines,), "block", "cosine"),
        ]
        if self.has_ablation and self.accuracy is not None:
            low = [self.accuracy + (block.change_low or 0.0) for block in blocks]
            high = [self.accuracy + (block.change_high or 0.0) for block in blocks]
            ablation = (
                Line("without the block", at, [block.accuracy or 0.0 for block in blocks], color=ORANGE, style="dots"),
                Line("95 %", at, low, color=ORANGE, style="dashes"),
                Line("", at, high, color=ORANGE, style="dashes"),
                Line("with all", at, [self.accuracy] * len(blocks), MUTED),
            )
            word = "accuracy" if self.compared_with == "labels" else "unchanged predictions"
            panels.append(Plot(f"{word.capitalize()} without the block", ablation, "block", word))
        return panels


def residual_blocks(
    model: Model, images: InspectedImages | Tensor, *, ablation: bool = True, seed: int = 0
) -> ResidualAnalysis:
    """Measure what each residual block adds, how gradients pass it, and what is lost without it.

    The blocks are found by recording the network (see `residual_sums`, also for networks that need a hint from their
    author). One pass measures shares and cosines, gradients take 24 images; leaving blocks out takes one pass for each.

    Args:
        images: with labels of the network's own classes accuracy is measured with them, else with the predictions of
            the whole network.
        ablation: leave each block out once.
        seed: of the draws behind the intervals of the shares.

    Raises:
        DataError: there are no images.

    Source: Veit et al. 2016, arXiv:1605.06431, section 4.1 (single blocks removed; the projection stays, as theirs
        did); share and cosine as in De and Smith 2020, arXiv:2002.10444, and Jastrzębski et al. 2018, arXiv:1710.04773.
        The interval of a change is that of Agresti and Min 2005 for matched pairs.
    """
    inspected, images = inspected_model(model), InspectedImages.of(images)
    with inspected.eval_mode():
        network = ResidualNetwork.of(inspected, images.pixels[:2])
        if not network.sums:
            return ResidualAnalysis(inspected.name, len(images), ())
        norms, logits = measure_norms(network, images.pixels)
        blocks = _share_measurements(network.sums, norms, bootstrap_weights(len(images), seed))
        if logits is None:
            return ResidualAnalysis(inspected.name, len(images), tuple(blocks))
        labels, compared_with = _labels(inspected, images, logits)
        correct = logits.argmax(1) == labels
        gradients = gradient_shares(network, images.pixels[:GRADIENT_IMAGES], labels[:GRADIENT_IMAGES])
        blocks = [replace(block, gradient=share) for block, share in zip(blocks, gradients, strict=True)]
        if ablation:
            without = [logits_without(network, one, images.pixels).argmax(1) == labels for one in network.sums]
            blocks = [_with_change(block, correct, now) for block, now in zip(blocks, without, strict=True)]
    accuracy = int(correct.sum()) / len(correct)
    return ResidualAnalysis(inspected.name, len(images), tuple(blocks), accuracy=accuracy, compared_with=compared_with)


def paired_interval(lost: int, won: int, pairs: int) -> Interval:
    """Change of a share in matched pairs, with its 95 % interval.

    Args:
        lost: pairs correct before and wrong after.
        won: pairs wrong before and correct after.
        pairs: all.

    Source: Agresti and Min 2005, Statistics in Medicine 24, 729-740: Wald's interval with ½ added to each of the four
        cells; it keeps a width where nothing changed.
    """
    more, fewer, whole = won + 0.5, lost + 0.5, pairs + 2
    middle = (more - fewer) / whole
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    half = z * float(np.sqrt(more + fewer - (more - fewer) ** 2 / whole)) / whole
    return Interval((won - lost) / pairs, middle - half, middle + half, n=pairs, method="Agresti and Min")


def _share_measurements(sums: Sequence[ResidualSum], norms: Norms, weights: Array) -> list[BlockMeasurement]:
    branch, shortcut, total, dot = (one.numpy() for one in (norms.branch, norms.shortcut, norms.total, norms.dot))
    shares = branch.mean(0) / np.maximum(total.mean(0), 1e-30)
    low, high = np.quantile((weights @ branch) / np.maximum(weights @ total, 1e-30), (0.025, 0.975), axis=0)
    cosines = (dot / np.maximum(branch * shortcut, 1e-30)).mean(0)
    return [
        BlockMeasurement(
            name=one.name,
            projection=not one.is_identity,
            share=float(shares[k]),
            share_low=float(low[k]),
            share_high=float(high[k]),
            cosine=float(cosines[k]),
        )
        for k, one in enumerate(sums)
    ]


def _with_change(block: BlockMeasurement, before: Tensor, after: Tensor) -> BlockMeasurement:
    """The measurement of a block with what its absence changes; N predictions each, whether they are correct."""
    change = paired_interval(int((before & ~after).sum()), int((~before & after).sum()), len(before))
    accuracy = int(after.sum()) / len(after)
    return replace(block, accuracy=accuracy, change=change.value, change_low=change.low, change_high=change.high)


def _labels(inspected: InspectedModel, images: InspectedImages, logits: Tensor) -> tuple[Tensor, str]:
    """Columns of the true classes, or of the predictions where the labels name no classes of the network."""
    labels = inspected.targets(images, logits)
    return (logits.argmax(1), "own predictions") if labels is None else (labels, "labels")


def _row(block: BlockMeasurement) -> tuple[str | int | float, ...]:
    numbers = (block.gradient, block.accuracy, block.change, block.change_low, block.change_high)
    kind = "projection" if block.projection else "identity"
    known = tuple(value for value in numbers if value is not None)
    return (block.name, kind, block.share, block.share_low, block.share_high, block.cosine, *known)
