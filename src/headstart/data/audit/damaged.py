"""Check: damaged images that are used in spite of it, because the user asked for that."""

from __future__ import annotations

from headstart.data.audit.check import AuditInput
from headstart.data.finding import NAMED, Finding
from headstart.wording import counted


def check_damaged(images: AuditInput) -> list[Finding]:
    """A problem with the reason for each damaged image that is used."""
    damaged = [i for i, fact in enumerate(images.facts) if fact.damage]
    if not damaged:
        return []
    is_one = len(damaged) == 1
    message = f"{counted(len(damaged), 'image')} {'is' if is_one else 'are'} damaged; what can be decoded is used."
    detail = {"reasons": {images.names[i]: images.facts[i].damage for i in damaged[:NAMED]}}
    return [images.finding("damaged", message, severity="problem", images=damaged, detail=detail)]
