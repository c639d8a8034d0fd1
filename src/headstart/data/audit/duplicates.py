"""Check: exact and near duplicates, and groups of them that are too large to be one picture."""

from __future__ import annotations

from headstart.data.audit.check import OVERSIZED_SHARE, AuditInput
from headstart.data.finding import Finding
from headstart.wording import counted


def check_duplicates(images: AuditInput) -> list[Finding]:
    """Warnings about exact duplicates, near duplicates and oversized groups."""
    return [*_exact(images), *_near(images), *_oversized(images)]


def _exact(images: AuditInput) -> list[Finding]:
    groups = images.exact_duplicate_groups
    if not groups:
        return []
    extra = sum(len(group) - 1 for group in groups)
    verb = "is an exact duplicate" if extra == 1 else "are exact duplicates"
    message = f"{counted(extra, 'image')} {verb} of another image (equal pixels)."
    return [images.finding("duplicate", message, groups=groups)]


def _near(images: AuditInput) -> list[Finding]:
    oversized = set(images.oversized_groups)
    exact = {i: number for number, group in enumerate(images.exact_duplicate_groups) for i in group}
    groups = [
        group
        for group in images.duplicate_groups
        if group not in oversized and len({exact.get(i, -1 - i) for i in group}) > 1
    ]
    message = (
        f"{counted(len(groups), 'group')} of near duplicates (resized, recompressed, flipped or slightly cropped): "
        "each group stays on one side of the split."
    )
    return [images.finding("near-duplicate", message, groups=groups)] if groups else []


def _oversized(images: AuditInput) -> list[Finding]:
    groups = images.oversized_groups
    share = f"{OVERSIZED_SHARE * 100:.0f}\u00a0%"
    message = (
        f"{counted(len(groups), 'group')} of duplicates with more than {share} of the images: too large "
        "to be one picture, so not used for splitting. If they are duplicates, remove them; test accuracy is reported "
        "with and without those that are also in training."
    )
    return [images.finding("oversized-group", message, groups=groups)] if groups else []
