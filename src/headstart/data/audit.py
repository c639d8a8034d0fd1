"""What is wrong or odd in an image set, as Findings: each check is one function.

samples + facts + groups of copies + bursts ─▶ Audit (findings · unreadable · copies · leaks · groups for the split)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.data.bursts import find_groups
from headstart.data.content import ContentIndex, ImageFacts
from headstart.data.finding import Finding
from headstart.data.image_set import ImageSet
from headstart.data.images import ImageRules

Groups = tuple[tuple[int, ...], ...]  # indices of samples; each group has two or more
Grouping = Sequence[str | None]  # a group's name or None, for every sample
Phase = Callable[[str, int, int], None]  # what is being done, how many are done, how many in all

_NAMED = 20  # names or groups that one finding lists; its detail has the full count
_OVERSIZED_SHARE = 0.05  # of the images: a larger group of copies is a series or a mistake and would eat the split
_OVERSIZED_LEAST = 4  # images: in a small set, a pair is a pair
_IMBALANCED, _BADLY_IMBALANCED = 3, 10  # largest class to smallest
_FEW, _TOO_FEW = 10, 2  # training images of a class
_TINY_SIDE = 32  # pixels
_LONG = 4  # longer side to shorter
_FAR = 4  # times the median side, larger or smaller
_COPIES = "copies 1"  # raise when near_duplicates.py finds other groups


@dataclass(frozen=True)
class Audit:
    """What a look at a set found; indices are those of the set's samples.

    Args:
        findings: all of them, those of the scan first.
        images: number of samples.
        unreadable: samples that cannot be used.
        exact_groups: samples with equal pixels.
        copy_groups: confirmed copies of one picture, exact ones included; disjoint.
        oversized_groups: copy groups too large to be believed; reported, not used for splitting.
        leaks: validation and test samples of which training has a copy.
        two_labels: copy groups whose members have different labels.
        groups_for_split: for each sample the number of its copy group, or None; oversized groups left out.
        bursts: groupings by table and by name, for the split.
    """

    findings: tuple[Finding, ...]
    images: int
    unreadable: tuple[int, ...]
    exact_groups: Groups
    copy_groups: Groups
    oversized_groups: Groups
    leaks: tuple[int, ...]
    two_labels: Groups
    groups_for_split: tuple[int | None, ...]
    bursts: tuple[tuple[str | None, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "images": self.images,
            "unreadable": list(self.unreadable),
            "exact_groups": [list(group) for group in self.exact_groups],
            "copy_groups": [list(group) for group in self.copy_groups],
            "oversized_groups": [list(group) for group in self.oversized_groups],
            "leaks": list(self.leaks),
            "two_labels": [list(group) for group in self.two_labels],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def examine(
    image_set: ImageSet,
    index: ContentIndex,
    rules: ImageRules | None = None,
    *,
    group_by: str = "auto",
    max_bad_share: float = 0.05,
    verify: bool = False,
    workers: int = 2,
    progress: Phase | None = None,
) -> tuple[tuple[ImageFacts, ...], Audit]:
    """Look at every image of a set (or remember it), look for copies, and audit.

    Args:
        index: remembers facts and copies between runs.
        group_by: as `find_groups`.
        max_bad_share: in [0, 1]; with more unreadable images than that, DataError.
        verify: hash every file again.
        workers: threads for reading.
        progress: called with ("reading" or "comparing", done, total).

    Raises:
        DataError: too many images cannot be read.
        RecipeError: group_by cannot be understood.
    """
    samples = image_set.samples
    bursts = find_groups(samples, group_by)
    facts = index.facts(samples, rules, verify=verify, workers=workers, progress=_phase(progress, "reading"))
    _check_bad_share(samples, facts, max_bad_share)  # before the copies are looked for, which takes longer
    copies = remembered_copies(samples, facts, index, rules, progress)
    found = audit(samples, facts, copies=copies, bursts=bursts, classes=image_set.classes, max_bad_share=max_bad_share)
    findings = (*image_set.findings, *index.findings, *found.findings)
    return facts, _with_findings(found, findings)
