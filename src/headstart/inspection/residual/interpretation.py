"""What the residual lens says in words: how the blocks work, which are needed, and which may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

HARMLESS = 0.03  # accuracy that may be lost at most, at the end of the 95 % interval, for a block to be let go
_IDLE = 0.1  # share of the gradient below which training the branch changes little
_LISTED = 6  # names in a sentence


class Block(Protocol):
    """Of a block what is needed to speak of it; see BlockLook."""

    @property
    def name(self) -> str:
        """Of the module."""

    @property
    def projection(self) -> bool:
        """Whether its shortcut is more than the identity."""

    @property
    def share(self) -> float:
        """Of the branch in what leaves the block."""

    @property
    def gradient(self) -> float | None:
        """Share of the gradient through the branch."""

    @property
    def change(self) -> float | None:
        """Of the accuracy without it."""

    @property
    def change_low(self) -> float | None:
        """Lower end of that."""

    @property
    def change_high(self) -> float | None:
        """Upper end of that."""


class Lens(Protocol):
    """Of a lens what is needed to speak of it; see ResidualLens."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def blocks(self) -> Sequence[Block]:
        """In their order."""

    @property
    def accuracy(self) -> float | None:
        """With all blocks."""

    @property
    def against(self) -> str:
        """What answers are compared with."""


def lens_reading(lens: Lens) -> tuple[str, ...]:
    """Sentences on all blocks, the most important first."""
    if not lens.blocks:
        return (
            f"{lens.model} has no residual blocks: no place adds a branch to what went past it. If it has some of its "
            "own kind, `residual_shortcut = 0` (or 1) on the module that adds names the operand that is the shortcut.",
        )
    return (*_lesions(lens), *_shares(lens.blocks), *_gradients(lens.blocks))


def _lesions(lens: Lens) -> tuple[str, ...]:
    blocks = [block for block in lens.blocks if block.change is not None]
    if not blocks or lens.accuracy is None:
        return ()
    free = [block.name for block in blocks if (block.change_low or 0.0) >= -HARMLESS]
    needed = [block for block in blocks if (block.change_high or 0.0) < 0]
    worst = min(blocks, key=lambda block: block.change or 0.0)
    what = "the accuracy falls" if lens.against == "labels" else "the share of answers that stay falls"
    points = -100 * (worst.change or 0.0)
    told = [
        f"Without {worst.name} {what} by {points:.1f} points, more than without any other block."
        if points > 0
        else "Leaving out any one block costs nothing here."
    ]
    if free:
        told.append(
            f"{len(free)} of {len(blocks)} blocks may be left out one at a time for less than {HARMLESS:.0%} (at the "
            f"end of the interval): {_listed(free)}. Several together cost more than their sum: leave out one, then "
            "look again."
        )
    else:
        told.append(f"No block can be left out for certainly less than {HARMLESS:.0%}.")
    open_ = len(blocks) - len(free) - sum(block.name not in free for block in needed)
    if open_:
        told.append(f"For {open_} blocks the images are too few to tell.")
    return tuple(told)


def _shares(blocks: Sequence[Block]) -> tuple[str, ...]:
    changing = [block.share for block in blocks if block.projection]
    plain = [block.share for block in blocks if not block.projection]
    if not changing or not plain:
        first, last = blocks[0], blocks[-1]
        return (f"The branch makes up {first.share:.0%} of what leaves {first.name}, {last.share:.0%} at {last.name}.",)
    middle, other = sorted(changing)[len(changing) // 2], sorted(plain)[len(plain) // 2]
    word = "more work than" if middle > other else "no more work than"
    return (
        f"Blocks that change the shape do {word} the others: the branch's typical share of the output is {middle:.0%} "
        f"there and {other:.0%} elsewhere.",
    )


def _gradients(blocks: Sequence[Block]) -> tuple[str, ...]:
    known = [(block.name, block.gradient) for block in blocks if block.gradient is not None]
    idle = [name for name, share in known if share < _IDLE]
    if not known:
        return ()
    if not idle:
        return (f"Every branch passes at least {min(share for _, share in known):.0%} of its block's gradient.",)
    return (
        f"Less than {_IDLE:.0%} of the gradient passes through {len(idle)} branches ({_listed(idle)}): what lies "
        "before them hardly learns through them, and little is lost when they are frozen.",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
