"""Labels and splits of rows that no scan has looked at, of Parquet files and webdataset tars: checked as in a table.

In: samples as shards give them. Out: those that can be used, and findings; what stops a training of a csv table stops
one of these too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from headstart.data.class_folders import case_collisions
from headstart.data.finding import FEW_NAMES, SCAN_NAMED, Finding, stopping
from headstart.data.image_set import Sample, class_findings, find_classes
from headstart.data.table_labels import check_labels
from headstart.data.table_splits import parse_values
from headstart.errors import DataError
from headstart.wording import counted, listed

_HINT = "Check the labels: --label-column names another column of a Parquet file."


@dataclass(frozen=True)
class CheckedRows:
    """Rows with usable labels.

    Args:
        at: number of each among those that were given. samples: with known splits. classes: that can be learned.
    """

    at: tuple[int, ...]
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]


def check_rows(
    samples: Sequence[Sample], *, listed_classes: tuple[str, ...], least: int, where: str, stop: bool
) -> CheckedRows:  # five, four of them by name
    """What can be used of samples in the order of their rows.

    Args:
        listed_classes: that the user lists; empty: those of the rows. least: how many classes there have to be.
        stop: False, as for an audit: whatever would stop a training is a finding.

    Raises:
        DataError: it stops.
    """
    without = [one.name for one in samples if one.label is None]
    at = tuple(i for i, one in enumerate(samples) if one.label is not None) or tuple(range(len(samples)))
    kept, findings = _with_splits([samples[i] for i in at])
    if without and len(without) < len(samples):
        findings.append(_named("empty-label", f"no label and {_are(without)} left out", without))
    rows: dict[str, list[int]] = defaultdict(list)
    for number, one in zip(at, kept, strict=True):
        if one.label is not None:
            rows[one.label].append(number + 1)
    findings += check_labels(rows, "row")
    labelled = [one for one in kept if one.label is not None]
    classes, findings = find_classes(labelled, listed_classes, least, earlier=findings, hint=_HINT)
    stops = [finding for finding in findings if finding.stops_training]
    if stops and stop:
        raise stops[0].to_error(where)
    more = [*class_findings(labelled, classes), *case_collisions([one.name for one in kept])]
    return CheckedRows(at, tuple(kept), classes, (*findings, *more))


def check_names(samples: Sequence[Sample], where: str) -> None:
    """See that each image has a name of its own.

    Raises:
        DataError: two have the same.
    """
    named = {one.name for one in samples}
    if len(named) != len(samples):
        raise DataError(
            expected="a name for each image",
            found=f"{counted(len(samples), 'image')} with {len(named):,} names",
            where=where,
            hint="Images in several files need different paths, or no column of names.",
        )


def _with_splits(samples: Sequence[Sample]) -> tuple[list[Sample], list[Finding]]:
    """The samples with known splits, and what says none: a mistyped word, or no word beside others."""
    known = parse_values("split", {one.split for one in samples if one.split})
    wrong = [one for one in samples if one.split and one.split not in known]
    without = [one.name for one in samples if not one.split]
    findings = []
    if wrong:
        found = f"{wrong[0].split!r} of {counted(len(wrong), 'image')}: {listed([w.name for w in wrong], FEW_NAMES)}"
        hint = "Correct these splits, or leave the column out."
        expected = "train, validation or test as the split"
        findings.append(stopping("unknown-split", expected=expected, found=found, hint=hint, count=len(wrong)))
    if without and len(without) < len(samples):
        found = f"none of {counted(len(without), 'image')}: {listed(without, FEW_NAMES)}"
        hint = "Write train, validation or test there, or leave the column out."
        expected = "a split of every image, or of none"
        findings.append(stopping("partial-split", expected=expected, found=found, hint=hint, count=len(without)))
    return [replace(one, split=known.get(one.split or "")) for one in samples], findings


def _named(kind: str, what: str, names: Sequence[str]) -> Finding:
    verb = "has" if len(names) == 1 else "have"
    message = f"{counted(len(names), 'image')} {verb} {what}: {listed(names, FEW_NAMES)}."
    return Finding(kind, "problem", message, tuple(names[:SCAN_NAMED]), detail={"count": len(names)})


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
