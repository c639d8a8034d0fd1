"""Images as a check of the audit receives them, without files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from headstart.data.audit.check import AuditInput
from headstart.data.finding import Finding
from headstart.data.image_index import ImageFacts
from headstart.data.image_set import Sample


def samples(*rows: tuple[str, str | None]) -> list[Sample]:
    """Samples from names LABEL/FILE, or SPLIT/LABEL/FILE, and splits."""
    return [Sample(Path(name), name, name.split("/")[-2], split) for name, split in rows]


def balanced(count: int = 40, split: str | None = None) -> list[Sample]:
    """So many samples, of the classes `a` and `b` in turn."""
    return samples(*((f"{'ab'[i % 2]}/{i}.png", split) for i in range(count)))


def ordinary(count: int, **changed: object) -> list[ImageFacts]:
    """Facts of so many different, ordinary images."""
    usual = {"width": 200, "height": 150, "format": "PNG", "mode": "RGB", **changed}
    return [ImageFacts(f"c{i}", f"p{i}", **usual) for i in range(count)]  # type: ignore[arg-type]


def images(
    rows: Sequence[Sample] | None = None,
    facts: Sequence[ImageFacts] | None = None,
    *,
    duplicates: Sequence[tuple[int, ...]] = (),
    classes: Sequence[str] = ("a", "b"),
) -> AuditInput:
    """What a check receives; by default forty balanced, ordinary images."""
    rows = balanced() if rows is None else rows
    return AuditInput(
        samples=tuple(rows),
        facts=tuple(ordinary(len(rows)) if facts is None else facts),
        classes=tuple(classes),
        duplicate_groups=tuple(duplicates),
    )


def by_kind(findings: Iterable[Finding]) -> dict[str, Finding]:
    """The last finding of each kind."""
    return {finding.kind: finding for finding in findings}
