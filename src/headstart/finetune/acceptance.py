"""Was fine-tuning worth it? The tuned network against the probe, on images that neither learnt from."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.evaluation.intervals import Interval, Resampling, bootstrap
from headstart.finetune.settings import FineTuneResult


def gain_of(tuned: FineTuneResult, groups: Sequence[str], seed: int) -> tuple[Interval, bool]:
    """By how much log loss fell from the probe to the tuned network, image by image, and whether that is enough.

    Enough is: the whole 95 % interval lies above zero, and no smaller share is right than with the probe.

    Args:
        groups: of the held-out images; those of one group are drawn together.
    """
    gain = tuned.at_start.log_losses - tuned.held_out.log_losses
    resampling = Resampling(n=len(gain), groups=groups, seed=seed)
    interval = bootstrap(lambda index: float(gain[index].mean()), resampling)
    return interval, interval.low > 0 and tuned.held_out.accuracy >= tuned.at_start.accuracy


def harm_of(tuned: FineTuneResult) -> str:
    """A sentence where the held-out images were answered better by the probe; empty where they were not."""
    before, after = tuned.at_start, tuned.held_out
    if not after.n or tuned.strategy == "full" or not after.log_loss > before.log_loss:
        return ""
    return (
        f"Fine-tuning made {after.n} held-out images worse: {before.accuracy:.1%} right became {after.accuracy:.1%}, "
        f"log loss {before.log_loss:.3f} {after.log_loss:.3f}. Lower --lr, or leave the choice to --strategy auto."
    )
