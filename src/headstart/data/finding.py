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
FEW_NAMES = 3
"""The most names in the sentence of a finding."""


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
            raise DataError(
                expected=f"severity {' or '.join(SEVERITIES)}",
                found=repr(self.severity),
                where="Finding",
                hint="Choose one of these.",
            )

    @property
    def stops_training(self) -> bool:
        """Whether the audit goes on but a training must not: the data can be read in two ways, or in none."""
        return bool(self.detail.get("stops_training"))

    def to_error(self, where: object) -> DataError:
        """The error that a training raises for it."""
        given = {key: str(self.detail.get(key, "")) for key in ("expected", "found", "hint")}
        return DataError(where=str(where), **given)


def stopping(kind: str, *, expected: str, found: str, hint: str = "", **detail: Any) -> Finding:
    """A problem that the audit lists and that stops everything else, with the words of its error.

    Args:
        detail: more plain values for JSON.
    """
    message = f"Expected {expected}, found {found.rstrip('.')}.{' ' if hint else ''}{hint}"
    words = {"expected": expected, "found": found, "hint": hint}
    return Finding(kind, "problem", message, detail={**detail, **words, "stops_training": True})
