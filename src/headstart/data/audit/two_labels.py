"""Check: duplicates that are filed under more than one class."""

from __future__ import annotations

from headstart.data.audit.check import AuditInput
from headstart.data.finding import Finding
from headstart.wording import counted


def check_two_labels(images: AuditInput) -> list[Finding]:
    """A problem with every group of duplicates whose images have different labels."""
    groups = [group for group in images.duplicate_groups if len({images.labels[i] for i in group}) > 1]
    message = f"{counted(len(groups), 'picture')} with two labels: at least one of them is wrong."
    return [images.finding("two-labels", message, severity="problem", groups=groups)] if groups else []
