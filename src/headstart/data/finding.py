"""Finding: one statement about a data set, for people and for JSON, with the images it is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headstart.errors import DataError
from headstart.plain import Plain
from headstart.public_api import public_methods

SEVERITIES = ("note", "warning", "problem")  # for information · check it · wrong numbers or lost images if ignored
NAMED = 1000
"""The most names that a finding of the audit carries; its detail has the full count."""
SCAN_NAMED = 20
"""The most names that a finding of the scan carries: it can concern every file of a disk."""


@public_methods()
@dataclass(frozen=True)
class Finding(Plain):
    """One statement about the data.

    Args:
        kind: short machine-readable word, such as `unreadable`, `leak`, `two-labels`.
        severity: one of SEVERITIES.
        message: one sentence for a person.
        names: the images (or files) it is about, by their name in the data set.
        groups: for duplicates, the names by group; each group has at least two.
        detail: plain values for JSON (counts, shares, reasons by name).

    Raises:
        DataError: the severity is unknown.
    """

    kind: str
    severity: str
    message: str
    names: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise DataError(expected=f"severity {' or '.join(SEVERITIES)}", found=repr(self.severity), where="Finding")
