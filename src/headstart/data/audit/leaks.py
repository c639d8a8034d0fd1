"""Check: validation and test images that have a duplicate in the training split."""

from __future__ import annotations

from collections import Counter

from headstart.data.audit.check import AuditInput
from headstart.data.finding import Finding
from headstart.data.split import find_leaks
from headstart.wording import counted


def check_leaks(images: AuditInput) -> list[Finding]:
    """A problem with every group of duplicates that is in training and outside it."""
    leaks = find_leaks(images.duplicate_groups, images.splits)
    if not leaks:
        return []
    leaked = set(leaks)
    groups = [group for group in images.duplicate_groups if not leaked.isdisjoint(group)]
    counts = Counter(str(images.splits[i]) for i in leaks)
    where = " and ".join(f"{count:,} in {split}" for split, count in counts.items())
    message = (
        f"{counted(len(leaks), 'image')} outside training ({where}) {'has' if len(leaks) == 1 else 'have'} a duplicate "
        "in training: test accuracy is reported with and without them."
    )
    return [images.finding("leak", message, severity="problem", groups=groups)]
