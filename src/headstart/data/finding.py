"""Finding: one thing that a look at the data found, in words and with the images it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SEVERITIES = ("note", "warning", "problem")  # said · look at it · wrong numbers or lost images if ignored
NAMED = 1000
"""Names a finding carries; its detail has the full count."""


@dataclass(frozen=True)
class Finding:
    """One statement about the data.

    Args:
        kind: short machine-readable word, e.g. `unreadable`, `leak`, `two-labels`, `skipped`.
        severity: one of SEVERITIES.
        message: one sentence for a person.
        names: the images (or files) it is about, by their name inside the set.
        groups: for duplicates, the names by group; each group has at least two.
        detail: plain values for JSON (counts, shares, reasons by name).
    """

    kind: str
    severity: str
    message: str
    names: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "names": list(self.names),
            "groups": [list(group) for group in self.groups],
            "detail": self.detail,
        }


def counted(number: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
