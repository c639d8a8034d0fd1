"""Residual blocks before and after a training: which of them changed what they contribute."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from headstart.errors import DataError
from headstart.figures.panels import Line, Plot, panels_figure
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.residual.block_measurements import BlockMeasurement
from headstart.inspection.residual.blocks import ResidualAnalysis
from headstart.wording import counted, listed

SAME = 0.05  # of its own size: a share that moved less did not change its role, however narrow its interval


@dataclass(frozen=True)
class ResidualChange(InspectionResult):
    """Two analyses of the same blocks with the same images."""

    before: ResidualAnalysis
    after: ResidualAnalysis

    @property
    def moved(self) -> tuple[str, ...]:
        """Blocks whose share changed beyond both intervals and by more than SAME, in their order."""
        pairs = zip(self.before.blocks, self.after.blocks, strict=True)
        return tuple(one.name for one, other in pairs if _moved(one, other))

    @property
    def title(self) -> str:
        """Of the page's section."""
        return f"Residual blocks of {self.before.model} before and after training"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What the training changed, and what could have stayed frozen."""
        moved, names = self.moved, [block.name for block in self.after.blocks]
        if not names:
            return self.before.interpretation
        if not moved:
            return ("No block changed its share: the training was short, or changed only the head.",)
        first = names.index(moved[0])
        changed = f"{len(moved)} of {counted(len(names), 'block')} changed their share: {listed(moved, 6)}."
        if not first:
            return (
                changed,
                "The first block is one of them: the images differ from the old ones in low-level features.",
            )
        still = f"The {first} blocks before {moved[0]} did" if first > 1 else f"{names[0]} did"
        return (changed, f"{still} not change: frozen, training would have given the same result at lower cost.")

    @property
    def tables(self) -> tuple[Table, ...]:
        """Share, cosine, gradient and change without the block, before and after."""
        pairs = list(zip(self.before.blocks, self.after.blocks, strict=True))
        if not pairs:
            return ()
        heads = ("block", "share", "after", "cosine", "after", "gradient", "after", "change without it", "after")
        return (Table("Blocks before and after", heads, tuple(_row(one, other) for one, other in pairs)),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        blocks = counted(len(self.after.blocks), "block")
        return f"Share of the branch in {blocks} before and after training; {len(self.moved)} of them changed."

    def figure(self) -> Figure:
        """Shares, and gradients where both have them, before and after."""
        at = range(1, len(self.before.blocks) + 1)
        both = ((self.before, "before", BLUE), (self.after, "after", ORANGE))
        lines = tuple(Line(word, at, [block.share for block in one.blocks], ink) for one, word, ink in both)
        panels = [Plot("Share of the branch", lines, "block", "share")]
        if self.before.accuracy is not None and self.after.accuracy is not None:
            lines = tuple(
                Line(word, at, [block.gradient or 0.0 for block in one.blocks], ink) for one, word, ink in both
            )
            panels.append(Plot("Gradient through the branch", lines, "block", "share"))
        return panels_figure(panels)

    def to_dict(self) -> dict[str, object]:
        """Both analyses, and the blocks that changed."""
        return {"before": self.before.to_dict(), "after": self.after.to_dict(), "moved": list(self.moved)}


def compare_residuals(before: ResidualAnalysis, after: ResidualAnalysis) -> ResidualChange:
    """Compare two analyses of the blocks of one network, as before and after fine-tuning.

    Raises:
        DataError: the blocks have other names, or the numbers of images differ.
    """
    names = [[block.name for block in one.blocks] for one in (before, after)]
    if names[0] != names[1] or before.images != after.images:
        raise DataError(
            expected="two analyses of the same blocks with the same images",
            found=f"{len(names[0])} blocks on {before.images} images, {len(names[1])} on {after.images}",
            where="compare_residuals",
            hint="Analyse both models with the same images.",
        )
    return ResidualChange(before, after)


def _moved(one: BlockMeasurement, other: BlockMeasurement) -> bool:
    apart = one.share_high < other.share_low or other.share_high < one.share_low
    return apart and abs(other.share - one.share) > SAME * one.share


def _row(one: BlockMeasurement, other: BlockMeasurement) -> tuple[str | int | float, ...]:
    pairs = ((one.share, other.share), (one.cosine, other.cosine), (one.gradient, other.gradient))
    every = (*pairs, (one.change, other.change))
    return (one.name, *["" if value is None else value for pair in every for value in pair])
