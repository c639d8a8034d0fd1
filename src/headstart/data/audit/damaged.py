"""Check: damaged images that the user asked to use, and images that are probably damaged."""

from __future__ import annotations

from headstart.data.audit.check import AuditInput
from headstart.data.finding import NAMED, Finding
from headstart.wording import counted


def check_damaged(images: AuditInput) -> list[Finding]:
    """A problem with the reason for each damaged image that is used; a warning for those that are probably damaged."""
    damaged = {i: fact.damage for i, fact in enumerate(images.facts) if fact.damage}
    suspect = {i: fact.suspicion for i, fact in enumerate(images.facts) if fact.suspicion and not fact.damage}
    found = []
    if damaged:
        message = f"{_are(damaged)} damaged; what can be decoded is used."
        found.append(_finding(images, "damaged", message, severity="problem", reasons=damaged))
    if suspect:
        message = f"{_are(suspect)} probably damaged. Look at {'it' if len(suspect) == 1 else 'them'}."
        found.append(_finding(images, "suspect", message, severity="warning", reasons=suspect))
    return found


def _are(images: dict[int, str]) -> str:
    return f"{counted(len(images), 'image')} {'is' if len(images) == 1 else 'are'}"


def _finding(images: AuditInput, kind: str, message: str, *, severity: str, reasons: dict[int, str]) -> Finding:
    named = {images.names[i]: reason for i, reason in list(reasons.items())[:NAMED]}
    return images.finding(kind, message, severity=severity, images=reasons, detail={"reasons": named})
