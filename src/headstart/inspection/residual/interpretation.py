"""What the residual analysis says in words: how the blocks work, which are needed, which can be removed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headstart.inspection.residual.block_measurements import BlockMeasurement
from headstart.wording import counted, listed, percent

HARMLESS = 0.03  # accuracy that may be lost at most, at the end of the 95 % interval, for a block to be removable
_IDLE = 0.1  # share of the gradient below which training the branch changes little
_LISTED = 6  # names in a sentence


def interpret_ablation(blocks: Sequence[BlockMeasurement], measured: str) -> tuple[str, ...]:
    """What removing single blocks costs; nothing where none was removed.

    Args:
        measured: what the cost is counted in, such as `accuracy`.
    """
    blocks = [block for block in blocks if block.change is not None]
    if not blocks:
        return ()
    removable = [block.name for block in blocks if (block.change_low or 0.0) >= -HARMLESS]
    needed = [block for block in blocks if (block.change_high or 0.0) < 0]
    worst = min(blocks, key=lambda block: block.change or 0.0)
    points = -100 * (worst.change or 0.0)
    equal = [
        block.name for block in blocks if block is not worst and math.isclose(block.change or 0.0, worst.change or 0.0)
    ]
    more = f"as without {listed(equal, _LISTED)}, and less without any other block"
    more = more if equal else "more than without any other block"
    sentences = [
        f"Without {worst.name} the {measured} falls by {points:.1f} points, {more}."
        if points > 0
        else "Removing any single block costs nothing on these images."
    ]
    if removable:
        sentences.append(
            f"{len(removable)} of {len(blocks)} blocks can each be removed for less than {100 * HARMLESS:.0f} points "
            f"(upper end of the 95 % interval): {listed(removable, _LISTED)}. Removing several costs more than the sum "
            "of the single costs: remove one, then repeat the analysis."
        )
    else:
        sentences.append(f"No block can be removed for reliably less than {100 * HARMLESS:.0f} points.")
    undecided = len(blocks) - len(removable) - sum(block.name not in removable for block in needed)
    if undecided:
        sentences.append(f"{counted(undecided, 'block')} cannot be judged with so few images.")
    return tuple(sentences)


def interpret_shares(blocks: Sequence[BlockMeasurement]) -> tuple[str, ...]:
    """How much the branches contribute, where the shape changes and elsewhere."""
    changing = sorted(block.share for block in blocks if block.projection)
    plain = sorted(block.share for block in blocks if not block.projection)
    if not changing or not plain:
        first, last = blocks[0], blocks[-1]
        return (
            f"The branch makes up {percent(first.share)} of the output of {first.name}, {percent(last.share)} of that "
            f"of {last.name}.",
        )
    middle, other = changing[len(changing) // 2], plain[len(plain) // 2]
    return (
        f"Blocks that change the shape {'contribute more' if middle > other else 'do not contribute more'} than the "
        f"others: the branch is typically {percent(middle)} of their output, {percent(other)} of that of the others.",
    )


def interpret_gradients(blocks: Sequence[BlockMeasurement]) -> tuple[str, ...]:
    """Which branches pass a gradient to the layers before them."""
    known = [(block.name, block.gradient) for block in blocks if block.gradient is not None]
    idle = [name for name, share in known if share < _IDLE]
    if not known:
        return ()
    if not idle:
        return (f"Every branch passes at least {percent(min(share for _, share in known))} of its block's gradient.",)
    return (
        f"Less than {100 * _IDLE:.0f} % of the gradient passes through {counted(len(idle), 'branch', 'branches')} "
        f"({listed(idle, _LISTED)}): these branches train slowly, and freezing them costs little.",
    )
