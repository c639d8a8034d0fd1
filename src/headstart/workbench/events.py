"""Events of a training as plain values; a face draws them, a script may ignore them.

DatasetSummary → Plan → Progress … → Results → NextSteps → FilesWritten
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data.finding import Finding
from headstart.evaluation.evaluation import Evaluation
from headstart.progress import Event
from headstart.reports.next_steps import NextStep


@dataclass(frozen=True)
class DatasetSummary(Event):
    """What the data is.

    Args:
        source: what the user named. images: usable ones. classes: names.
        counts: split (train, validation, test) → class → images.
        protocol: how the splits came about, one sentence.
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
    """What will be done: label → text, in the order to show."""

    rows: Mapping[str, str]


@dataclass(frozen=True)
class EpochEnd(Event):
    """A finished epoch of fine-tuning: its number from 1, and the fields of its record."""

    epoch: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Results(Event):
    """What was measured on the test images, and a clause that says on which images the rest was selected.

    Args:
        trust: what the classifier's doubts are worth, in sentences.
        basis: of the network, where the title must say it: untrained backbone, embedded backbone.
    """

    evaluation: Evaluation
    warnings: tuple[str, ...]
    chosen: str
    trust: tuple[str, ...] = ()
    basis: str = ""


@dataclass(frozen=True)
class NextSteps(Event):
    """What to improve next, most certain first."""

    steps: tuple[NextStep, ...]


@dataclass(frozen=True)
class FilesWritten(Event):
    """Where the files are, and the command that comes next; empty where there is none."""

    folder: Path
    files: tuple[str, ...]
    next_command: str
