"""Residual blocks before and after a training: which of them changed what they do."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from headstart.errors import DataError
from headstart.figures.panels import Line, Plot, panels_figure
from headstart.figures.style import BLUE, ORANGE
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.inspection.residual.blocks import BlockMeasurement, ResidualAnalysis

SAME = 0.05  # of its own size: a share that moved less did not change its work, however narrow its interval


@dataclass(frozen=True)
class ResidualChange(InspectionResult):
    """Two looks at the same blocks with the same images."""

    before: ResidualAnalysis
    after: ResidualAnalysis

    @property
    def moved(self) -> tuple[str, ...]:
        """Blocks whose share changed beyond both intervals and by more than SAME, in their order."""
        pairs = zip(self.before.blocks, self.after.blocks, strict=True)
        return tuple(one.name for one, other in pairs if _moved(one, other))

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Residual blocks of {self.before.model} before and after"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What the training changed, and what might have been left frozen."""
        moved, names = self.moved, [block.name for block in self.after.blocks]
        if not names:
            return self.before.interpretation
        if not moved:
            return ("No block changed its share: the training was light, or touched the head alone.",)
        first = names.index(moved[0])
        told = [f"{len(moved)} of {len(names)} blocks changed how much they add: {', '.join(moved[:6])}."]
        if first:
            still = f"the {first} blocks before {moved[0]}" if first > 1 else f"{names[0]}"
            told.append(f"Unchanged are {still}: frozen, they would have done the same, and cheaper.")
        else:
            told.append("The first block is among them: the images differ from the old ones from the beginning.")
        return tuple(told)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Share, cosine, gradient and loss without the block, before and after."""
        pairs = list(zip(self.before.blocks, self.after.blocks, strict=True))
        if not pairs:
            return ()
        heads = ("block", "share", "after", "cosine", "after", "gradient", "after", "change without it", "after")
        return (Table("Blocks before and after", heads, tuple(_row(one, other) for one, other in pairs)),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        many = len(self.after.blocks)
        return f"Share of the branch in each of {many} blocks before and after; {len(self.moved)} of them changed."

    def figure(self) -> Figure:
        """Shares, and gradients where both have them, before and after."""
        at = range(1, len(self.before.blocks) + 1)
        both = ((self.before, "before", BLUE), (self.after, "after", ORANGE))
        lines = tuple(Line(word, at, [block.share for block in lens.blocks], ink) for lens, word, ink in both)
        panels = [Plot("Share of the branch", lines, "block", "share")]
        if self.before.accuracy is not None and self.after.accuracy is not None:
            lines = tuple(
                Line(word, at, [block.gradient or 0.0 for block in lens.blocks], ink) for lens, word, ink in both
            )
            panels.append(Plot("Gradient through the branch", lines, "block", "share"))
        return panels_figure(panels)

    def to_dict(self) -> dict[str, object]:
        """Both looks, and the blocks that changed."""
        return {"before": self.before.to_dict(), "after": self.after.to_dict(), "moved": list(self.moved)}


def compare_residuals(before: ResidualAnalysis, after: ResidualAnalysis) -> ResidualChange:
    """Set two looks at the blocks of one network side by side, as before and after fine-tuning.

    Raises:
        DataError: the blocks have other names, or the looks were taken of different numbers of images.
    """
    names = [[block.name for block in lens.blocks] for lens in (before, after)]
    if names[0] != names[1] or before.images != after.images:
        raise DataError(
            expected="two looks at the same blocks with the same images",
            found=f"{len(names[0])} blocks on {before.images} images, {len(names[1])} on {after.images}",
            where="compare_residuals",
            hint="Look at both models with the same images.",
        )
    return ResidualChange(before, after)


def _moved(one: BlockMeasurement, other: BlockMeasurement) -> bool:
    apart = one.share_high < other.share_low or other.share_high < one.share_low
    return apart and abs(other.share - one.share) > SAME * one.share


def _row(one: BlockMeasurement, other: BlockMeasurement) -> tuple[str | int | float, ...]:
    pairs = ((one.share, other.share), (one.cosine, other.cosine), (one.gradient, other.gradient))
    every = (*pairs, (one.change, other.change))
    return (one.name, *["" if value is None else value for pair in every for value in pair])
