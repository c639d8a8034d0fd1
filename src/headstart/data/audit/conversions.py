"""Check: what was done to images while they were read, such as an EXIF rotation or a removed alpha channel."""

from __future__ import annotations

from headstart.data.audit.check import AuditInput
from headstart.data.finding import Finding
from headstart.wording import counted

_KINDS = {  # how a note on one image begins → one text for all such images
    "first of": "only the first frame is used",
    "rotated": "rotated as the EXIF tag says",
    "16 bit": "16 bit, reduced to 8",
    "reduced to": "very large, reduced while it was decoded",
    "values": "values scaled to 0…255",
    "named": "the file suffix does not match the content; the content counts",
}


def check_conversions(images: AuditInput) -> list[Finding]:
    """A note `converted` for each kind of conversion."""
    kinds: dict[str, list[int]] = {}
    for i, fact in enumerate(images.facts):
        for note in fact.notes:
            kinds.setdefault(_kind_of(note), []).append(i)
    return [
        images.finding("converted", f"{counted(len(chosen), 'image')}: {kind}.", severity="note", images=chosen)
        for kind, chosen in kinds.items()
    ]


def _kind_of(note: str) -> str:
    """A note without the numbers that differ between images."""
    return next((kind for start, kind in _KINDS.items() if note.startswith(start)), note)
