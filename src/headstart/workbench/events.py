"""What a verb tells while it works, as plain values; a face draws them, a script may ignore them.

Found → Plan → Progress … → Verdict → Written
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart.data.finding import Finding
from headstart.evaluation.evaluation import Evaluation
from headstart.progress import Event


@dataclass(frozen=True)
class DatasetSummary(Event):
    """What the data turned out to be.

    Args:
        source: what the user named. images: usable ones. classes: names.
        counts: part (train, validation, test) → class → images.
        protocol: how the parts came about, one sentence.
        findings: problems first.
    """

    source: str
    images: int
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    protocol: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Plan(Event):
    """What will be done with it: label → text, in the order to show."""

    rows: Mapping[str, str]


@dataclass(frozen=True)
class Results(Event):
    """What was measured on the test images, and a clause that says by which images the rest was chosen."""

    evaluation: Evaluation
    warnings: tuple[str, ...]
    chosen: str


@dataclass(frozen=True)
class FilesWritten(Event):
    """Where everything lies, and the command that comes next; empty where none does."""

    folder: Path
    files: tuple[str, ...]
    next_command: str
