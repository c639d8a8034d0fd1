"""The audit: problems of a data set, found by decoding each image once and running every check. Nothing is changed.

In: an ImageSet. Out: Audit: findings, and the groups of duplicates that must stay on one side of a split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.audit.check import AuditInput, Group, run_checks
from headstart.data.bursts import find_groups
from headstart.data.duplicates.groups import exact_duplicates, find_duplicates
from headstart.data.finding import Finding, stopping
from headstart.data.image_index import ImageFacts, ImageIndex
from headstart.data.image_set import ImageSet, Sample
from headstart.data.images import ImageRules, open_image
from headstart.data.split import find_leaks
from headstart.progress import OnStep


@dataclass(frozen=True)
class Audit:
    """What was found.

    Args:
        findings: of the scan, then of every check.
        images: how many were examined.
        unreadable: indices of samples.
        exact_duplicate_groups: samples with equal pixels. duplicate_groups: confirmed duplicates, exact ones included.
        oversized_groups: duplicate groups with more than 20 images and 5 % of all, unless all are equal; of these only
            the equal images are kept together in a split.
        leaks: samples of the validation and test splits that have a duplicate in training.
        groups_for_split: number of the duplicate group that counts for a split, or None, for each sample.
    """

    findings: tuple[Finding, ...]
    images: int
    unreadable: tuple[int, ...]
    exact_duplicate_groups: tuple[Group, ...]
    duplicate_groups: tuple[Group, ...]
    oversized_groups: tuple[Group, ...]
    leaks: tuple[int, ...]
    groups_for_split: tuple[int | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON: counts and findings."""
        return {
            "images": self.images,
            "unreadable": len(self.unreadable),
            "exact_duplicate_groups": len(self.exact_duplicate_groups),
            "duplicate_groups": len(self.duplicate_groups),
            "oversized_groups": len(self.oversized_groups),
            "leaks": len(self.leaks),
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """How a data set is audited.

    Args:
        rules: how images are opened.
        group_by: which images belong together by their names, see `parse_group_by`.
        max_bad_share: a larger share of unreadable images is an error, or without `stop` a problem.
        stop: False: a problem that stops a training is a finding.
        verify: hash every file again instead of trusting path, size and times.
        workers: threads that decode.
        decided: content hash of an image → its label by review, None where it is left out.
    """

    rules: ImageRules = field(default_factory=ImageRules)
    group_by: str = "auto"
    max_bad_share: float = 0.05
    stop: bool = True
    verify: bool = False
    workers: int = 2
    decided: Mapping[str, str | None] = field(default_factory=dict)


def audit_images(
    image_set: ImageSet,
    index: ImageIndex,
    settings: AuditSettings,
    *,
    progress: OnStep | None = None,
) -> tuple[AuditInput, Audit]:
    """Decode every image that the index does not know yet, find duplicates, and run every check.

    Args:
        progress: (name of the step, unit) → a function that is called with (done, total).

    Returns:
        What the checks received, and the audit; both aligned with the samples of the image set but for those that were
        left out by review.

    Raises:
        DataError: more than `max_bad_share` of the images cannot be read, or a check from outside headstart fails.
        RecipeError: `group_by` is not a pattern.
    """
    samples = image_set.samples
    reading = progress("read images", "images") if progress is not None else None
    facts = index.facts(samples, settings.rules, verify=settings.verify, workers=settings.workers, progress=reading)

    def read(sample: Sample) -> NDArray[np.uint8]:
        return open_image(sample.path, settings.rules).rgb

    return audit_facts(image_set, facts, settings, read=read, progress=progress, earlier=index.findings)


def audit_facts(
    image_set: ImageSet,
    facts: Sequence[ImageFacts],
    settings: AuditSettings,
    *,
    read: Callable[[Sample], NDArray[np.uint8]] | None,
    progress: OnStep | None = None,
    earlier: Sequence[Finding] = (),
) -> tuple[AuditInput, Audit]:
    """Find duplicates among images whose facts are known, and run every check; see `audit_images`.

    Args:
        facts: of each sample. earlier: findings besides those of the scan.
        read: gives the pixels of an image, for likely duplicates; None: only exact duplicates are found.

    Raises:
        DataError, RecipeError: as `audit_images`.
    """
    samples = image_set.samples
    too_bad = _check_readable(samples, facts, settings.max_bad_share)
    if too_bad and settings.stop:
        raise too_bad[0].to_error(image_set.source)
    samples, facts = _decided(samples, tuple(facts), settings.decided)
    groupings = _groupings(samples, facts, settings.group_by)
    duplicates = (
        exact_duplicates(facts)
        if read is None
        else find_duplicates(facts, lambda i: read(samples[i]), progress=progress)
    )
    images = AuditInput(
        samples=samples,
        facts=tuple(facts),
        classes=image_set.classes,
        duplicate_groups=duplicates,
        groupings=groupings,
        groups_are_guessed=settings.group_by == "auto",
        bit_depth=settings.rules.bit_depth,
    )
    return images, audit(images, earlier=(*image_set.findings, *too_bad, *earlier))


def audit(images: AuditInput, *, earlier: Sequence[Finding] = ()) -> Audit:
    """Run every check.

    Args:
        earlier: findings of the scan, which come first.

    Raises:
        DataError: a check from outside headstart fails.
    """
    return Audit(
        findings=(*earlier, *run_checks(images)),
        images=len(images),
        unreadable=tuple(np.flatnonzero(~images.readable).tolist()),
        exact_duplicate_groups=images.exact_duplicate_groups,
        duplicate_groups=images.duplicate_groups,
        oversized_groups=images.oversized_groups,
        leaks=find_leaks(images.duplicate_groups, images.splits),
        groups_for_split=_groups_for_split(images),
    )


def _decided(
    samples: tuple[Sample, ...], facts: tuple[ImageFacts, ...], decided: Mapping[str, str | None]
) -> tuple[tuple[Sample, ...], tuple[ImageFacts, ...]]:
    """The samples with the labels of a review, without those that it leaves out."""
    if not decided:
        return samples, facts
    kept = [i for i, fact in enumerate(facts) if decided.get(fact.content, "") is not None]
    labels = [decided.get(facts[i].content, samples[i].label) for i in kept]
    changed = tuple(replace(samples[i], label=label) for i, label in zip(kept, labels, strict=True))
    return changed, tuple(facts[i] for i in kept)


def _groupings(
    samples: Sequence[Sample], facts: Sequence[ImageFacts], group_by: str
) -> tuple[tuple[str | None, ...], ...]:
    """Groupings by table and by name; an unreadable image is in no group and does not count for bursts."""
    readable = [i for i, fact in enumerate(facts) if fact.error is None]
    groupings = []
    for grouping in find_groups([samples[i] for i in readable], group_by):
        groups: list[str | None] = [None] * len(samples)
        for i, group in zip(readable, grouping, strict=True):
            groups[i] = group
        groupings.append(tuple(groups))
    return tuple(groupings)


def _groups_for_split(images: AuditInput) -> tuple[int | None, ...]:
    """Number of each image's group; equal images keep one also where theirs is oversized."""
    oversized = set(images.oversized_groups)
    usual = [group for group in images.duplicate_groups if group not in oversized]
    numbers: list[int | None] = [None] * len(images)
    for number, group in enumerate([*images.exact_duplicate_groups, *usual]):  # a usual group overrides an exact one
        for i in group:
            numbers[i] = number
    return tuple(numbers)


def _check_readable(samples: Sequence[Sample], facts: Sequence[ImageFacts], max_bad_share: float) -> list[Finding]:
    bad = [(sample.name, fact.error) for sample, fact in zip(samples, facts, strict=True) if fact.error is not None]
    if len(bad) <= max_bad_share * len(samples):
        return []
    examples = "; ".join(f"{name}: {reason}" for name, reason in bad[:3])
    return [
        stopping(
            "too-many-unreadable",
            expected=f"at most {max_bad_share * 100:.0f}\u00a0% of the images to be unreadable",
            found=f"{len(bad)} of {len(samples)} ({examples})",
            hint="So many suggest a wrong folder or format rather than single broken files. Check these; "
            "--max-bad-share allows more.",
        )
    ]
