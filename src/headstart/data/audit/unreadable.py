"""Check: image files that cannot be decoded."""

from __future__ import annotations

import numpy as np

from headstart.data.audit.check import AuditInput
from headstart.data.finding import NAMED, Finding
from headstart.wording import counted


def check_unreadable(images: AuditInput) -> list[Finding]:
    """A problem with the reason for each unreadable image."""
    unreadable = np.flatnonzero(~images.readable).tolist()
    if not unreadable:
        return []
    message = (
        f"{counted(len(unreadable), 'image')} cannot be read and {'is' if len(unreadable) == 1 else 'are'} left out."
    )
    reasons = {images.names[i]: images.facts[i].error for i in unreadable[:NAMED]}
    detail = {"reasons": reasons}
    return [images.finding("unreadable", message, severity="problem", images=unreadable, detail=detail)]
