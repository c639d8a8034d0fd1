"""Rules about classifier files: whether they say all that the present format says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError, safe_open

from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import Issue, rule
from headstart.classifier.card import FORMAT, MAX_BYTES, Card


@rule(
    "file older than its format",
    "advice",
    needs=("file",),
    why="What an older file does not say is filled in by convention; a later headstart may no longer know it.",
    source="headstart.classifier.card",
    fix="Write it anew: Classifier.load(path).save(path); predictions stay the same.",
)
def file_older_than_its_format(case: Examination) -> Iterator[Issue]:
    """Entries that today's cards have and the one in the file lacks."""
    if case.subject.classifier is None:
        raise NotApplicableError("no classifier")
    if case.file is None:
        raise NotCheckedError("the classifier file")
    values = _card_values(case.file)
    lacking = [field.name for field in fields(Card) if field.name not in values]
    if lacking:
        yield Issue((), f"the card does not say: {', '.join(lacking)}")


def _card_values(file: Path) -> dict[str, object]:
    path = file / "classifier.safetensors" if file.is_dir() else file
    try:
        with safe_open(path, framework="pt") as opened:
            text = (opened.metadata() or {}).get("headstart", "")
        values = json.loads(text) if len(text) <= MAX_BYTES else None
    except (SafetensorError, OSError, ValueError) as error:
        raise NotCheckedError(f"a classifier file that can be read: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise NotCheckedError("a classifier file of headstart")
    return values
