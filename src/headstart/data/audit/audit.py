"""The audit: what is wrong with a set of images, found by looking at each once. Nothing is changed.

In: an ImageSet and the facts of its images. Out: Audit: findings, and groups of copies that keep a split honest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates.groups import exact_copies, find_copies
from headstart.data.finding import NAMED, Finding, counted
from headstart.data.image_index import ContentIndex, ImageFacts, Progress
from headstart.data.image_set import ImageSet, Sample
from headstart.data.images import ImageRules, open_image
from headstart.data.leakage import about_groups, leaked
from headstart.errors import DataError

Group = tuple[int, ...]

OVERSIZED = 0.05  # share of all images: above, "copies" are rather one scene or one drawing style than one picture …
_PLENTY = 20  # … but so many may be one picture in any set, and equal pixels always are
_BALANCED, _UNBALANCED = 3, 10  # largest class : smallest; at 10 a classifier that ignores the smallest looks good
_FEW, _TOO_FEW = 10, 2  # training images of a class: below 10 a recall is mostly luck, below 2 nothing can be left out
_TINY = 32  # px of the shorter side: every backbone but the CIFAR ones magnifies these
_LONG = 4  # longer : shorter side; a square crop then shows less than a quarter
_NOTES = {  # how a note on one image begins → what is said of all of them
    "first of": "only the first frame is used",
    "turned": "turned as the EXIF tag says",
    "16 bit": "16 bit, divided by 257",
    "values": "values stretched to 0…255",
    "named": "the suffix does not fit the content, which is what counts",
}


@dataclass(frozen=True)
class Audit:
    """What was found.

    Args:
        findings: of the scan and of every check.
        images: how many were looked at.
        unreadable: indices of samples.
        exact_groups: samples with equal pixels. copy_groups: confirmed copies, exact ones included.
        oversized_groups: of these, the ones with more than 20 images and 5 % of all, unless all are equal; of them only
            the equal ones are used for splitting.
        leaks: samples outside the training part that have a copy inside it.
        groups_for_split: number of the group of copies that counts for a split, or None, for each sample.
    """

    findings: tuple[Finding, ...]
    images: int
    unreadable: tuple[int, ...]
    exact_groups: tuple[Group, ...]
    copy_groups: tuple[Group, ...]
    oversized_groups: tuple[Group, ...]
    leaks: tuple[int, ...]
    groups_for_split: tuple[int | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "images": self.images,
            "unreadable": len(self.unreadable),
            "exact_groups": len(self.exact_groups),
            "copy_groups": len(self.copy_groups),
            "oversized_groups": len(self.oversized_groups),
            "leaks": len(self.leaks),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def examine(
    image_set: ImageSet,
    index: ContentIndex,
    rules: ImageRules,
    *,
    max_bad_share: float = 0.05,
    verify: bool = False,
    workers: int = 2,
    progress: Progress | None = None,
    pair_progress: Progress | None = None,
) -> tuple[tuple[ImageFacts, ...], Audit]:
    """Look at every image of a set, remembered ones excepted, and audit it.

    Args:
        progress: told the images looked at. pair_progress: told the likely copies compared.

    Raises:
        DataError: more than `max_bad_share` of the images cannot be read.
    """
    samples = image_set.samples
    facts = index.facts(samples, rules, verify=verify, workers=workers, progress=progress)
    _check_reader(samples, facts, max_bad_share)

    def read(i: int) -> NDArray[np.uint8]:
        return open_image(samples[i].path, rules).rgb

    copies = find_copies(facts, read, progress=pair_progress)
    given = (*image_set.findings, *index.findings)
    return facts, audit(samples, facts, copies=copies, classes=image_set.classes, given=given)


def audit(
    samples: Sequence[Sample],
    facts: Sequence[ImageFacts],
    *,
    copies: Sequence[Group],
    classes: Sequence[str],
    given: Sequence[Finding] = (),
) -> Audit:
    """Every check over what is known of the images.

    Args:
        samples, facts: N each, aligned. copies: confirmed groups of indices.
        classes: that can be learnt. given: findings of the scan, passed on.
    """
    exact = exact_copies(facts)
    most = max(OVERSIZED * len(samples), _PLENTY)
    oversized = tuple(group for group in copies if len(group) > most and group not in exact)
    usual = [group for group in copies if group not in oversized]
    leaks = leaked(copies, [sample.part for sample in samples])
    findings = [
        *given,
        *_unreadable(samples, facts),
        *_leaks(samples, copies, leaks),
        *_two_labels(samples, copies),
        *_duplicates(samples, exact, usual),
        *_oversized(samples, oversized),
        *_balance(samples, facts, classes),
        *_sizes(samples, facts),
        *_conversions(samples, facts),
    ]
    unreadable = tuple(i for i, fact in enumerate(facts) if fact.error is not None)
    numbers = _numbers(len(samples), usual, exact)
    return Audit(tuple(findings), len(samples), unreadable, exact, tuple(copies), oversized, leaks, numbers)


def _numbers(count: int, usual: Sequence[Group], exact: Sequence[Group]) -> tuple[int | None, ...]:
    """Number of each image's group; equal images keep one also where theirs is oversized."""
    numbers: list[int | None] = [None] * count
    for number, group in enumerate([*exact, *usual]):  # a usual group has the last word on its images
        for i in group:
            numbers[i] = number
    return tuple(numbers)


def _check_reader(samples: Sequence[Sample], facts: Sequence[ImageFacts], max_bad_share: float) -> None:
    bad = [(sample.name, fact.error) for sample, fact in zip(samples, facts, strict=True) if fact.error is not None]
    if len(bad) > max_bad_share * len(samples):
        examples = "; ".join(f"{name}: {reason}" for name, reason in bad[:3])
        raise DataError(
            expected=f"at most {max_bad_share:.0%} of the images to be unreadable",
            found=f"{len(bad)} of {len(samples)} ({examples})",
            hint="So many suggest that the reader or the folder is at fault, not the images. Look at these; "
            "--max-bad-share lets more pass.",
        )


def _unreadable(samples: Sequence[Sample], facts: Sequence[ImageFacts]) -> list[Finding]:
    reasons = {sample.name: fact.error for sample, fact in zip(samples, facts, strict=True) if fact.error is not None}
    if not reasons:
        return []
    message = f"{counted(len(reasons), 'image')} cannot be read and {'is' if len(reasons) == 1 else 'are'} left out."
    detail = {"count": len(reasons), "reasons": dict(list(reasons.items())[:NAMED])}
    return [Finding("unreadable", "problem", message, tuple(reasons)[:NAMED], detail=detail)]


def _leaks(samples: Sequence[Sample], copies: Sequence[Group], leaks: Sequence[int]) -> list[Finding]:
    leaked = set(leaks)
    groups = [group for group in copies if leaked & set(group)]
    parts = Counter(str(samples[i].part) for i in leaks)
    where = " and ".join(f"{count} in {part}" for part, count in parts.items())
    message = (
        f"{counted(len(leaks), 'image')} outside training ({where}) {'has' if len(leaks) == 1 else 'have'} a copy in "
        "training: the test score is shown with and without them."
    )
    return [about_groups("leak", "problem", message, samples, groups)] if leaks else []


def _two_labels(samples: Sequence[Sample], copies: Sequence[Group]) -> list[Finding]:
    groups = [group for group in copies if len({samples[i].label for i in group}) > 1]
    message = f"{counted(len(groups), 'picture')} under two labels: one of them is wrong."
    return [about_groups("two-labels", "problem", message, samples, groups)] if groups else []


def _duplicates(samples: Sequence[Sample], exact: Sequence[Group], copies: Sequence[Group]) -> list[Finding]:
    findings = []
    if exact:
        extra = sum(len(group) - 1 for group in exact)
        message = f"{counted(extra, 'image')} {'is' if extra == 1 else 'are'} an exact copy of another (equal pixels)."
        findings.append(about_groups("duplicate", "warning", message, samples, exact))
    same = {i: number for number, group in enumerate(exact) for i in group}
    near = [group for group in copies if len({same.get(i, -1 - i) for i in group}) > 1]
    if near:
        message = (
            f"{counted(len(near), 'group')} of near copies (resized, recompressed, mirrored or slightly cropped): each "
            "stays on one side of a split."
        )
        findings.append(about_groups("near-duplicate", "warning", message, samples, near))
    return findings


def _oversized(samples: Sequence[Sample], groups: Sequence[Group]) -> list[Finding]:
    message = (
        f"{counted(len(groups), 'group')} of copies with more than {OVERSIZED:.0%} of the images: too large to be one "
        "picture, so not used for splitting. If they are, remove the copies; the test score is shown with and without "
        "those that lie in training too."
    )
    return [about_groups("oversized-group", "warning", message, samples, groups)] if groups else []


def _balance(samples: Sequence[Sample], facts: Sequence[ImageFacts], classes: Sequence[str]) -> list[Finding]:
    learnt = [(sample, fact) for sample, fact in zip(samples, facts, strict=True) if sample.part in (None, "train")]
    if not learnt:  # a test part alone: nothing is learnt from it
        return []
    labels = Counter(sample.label for sample, fact in learnt if fact.error is None)
    counts = {name: labels[name] for name in classes}
    findings = []
    largest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    ratio = counts[largest] / max(counts[smallest], 1)
    if ratio > _BALANCED:
        message = (
            f"Unbalanced: {counts[largest]:,} images of {largest!r}, {counts[smallest]:,} of {smallest!r}. Read the "
            "balanced accuracy; --balance equal makes the classes weigh alike."
        )
        severity = "warning" if ratio > _UNBALANCED else "note"
        findings.append(Finding("imbalance", severity, message, detail={"counts": dict(counts), "ratio": ratio}))
    few = {name: count for name, count in counts.items() if count < _FEW}
    if few:
        severity = "problem" if min(few.values()) < _TOO_FEW else "warning"
        said = ", ".join(f"{name!r} ({count})" for name, count in few.items())
        message = f"Classes with fewer than {_FEW} training images: {said}. What is measured of them is mostly luck."
        findings.append(Finding("small-class", severity, message, detail={"counts": few}))
    return findings


def _sizes(samples: Sequence[Sample], facts: Sequence[ImageFacts]) -> list[Finding]:
    sides = {
        sample.name: (min(fact.width, fact.height), max(fact.width, fact.height))
        for sample, fact in zip(samples, facts, strict=True)
        if fact.error is None
    }
    if not sides:
        return []
    usual = median(short for short, _ in sides.values())
    tiny = [name for name, (short, _) in sides.items() if short < _TINY]
    long = [name for name, (short, long) in sides.items() if long > _LONG * short]
    odd = [name for name, (short, _) in sides.items() if not usual / 8 <= short <= usual * 8 and short >= _TINY]
    said = (
        (tiny, f"shorter than {_TINY} px on one side: little to see"),
        (long, f"more than {_LONG} times as long as wide: the square crop shows less than a quarter"),
        (odd, f"more than eight times smaller or larger than the usual {usual:.0f} px"),
    )
    return [
        Finding(
            "odd-size",
            "note",
            f"{counted(len(names), 'image')} {what}.",
            tuple(names)[:NAMED],
            detail={"count": len(names)},
        )
        for names, what in said
        if names
    ]


def _conversions(samples: Sequence[Sample], facts: Sequence[ImageFacts]) -> list[Finding]:
    """What was done to images while reading, gathered by kind."""
    kinds: dict[str, list[str]] = {}
    for sample, fact in zip(samples, facts, strict=True):
        for note in fact.notes:
            kinds.setdefault(_kind_of(note), []).append(sample.name)
    return [
        Finding(
            "converted",
            "note",
            f"{counted(len(names), 'image')}: {kind}.",
            tuple(names)[:NAMED],
            detail={"count": len(names)},
        )
        for kind, names in kinds.items()
    ]


def _kind_of(note: str) -> str:
    """A note without the numbers that differ from image to image."""
    return next((kind for start, kind in _NOTES.items() if note.startswith(start)), note)
