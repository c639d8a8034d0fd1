"""Which images train, which may choose, which are tested: given parts as they are, else a split of our own.

In: label, part, content hash and groups of every sample. Out: Split, as indices into the samples.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.data.finding import Finding
from headstart.errors import DataError, RecipeError


@dataclass(frozen=True)
class DataSplit:
    """Indices of the samples by use, ascending, and the sentence that says how it was done.

    Args:
        groups: group number of every sample; images of one number belong together, a single image has its own.
        protocol: one plain sentence for the verdict.
        unknown: samples of classes that training does not have; reported, never scored.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    groups: tuple[int, ...]
    protocol: str
    unknown: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: counts, protocol and findings."""
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "unknown": len(self.unknown),
            "groups": len(set(self.groups)),
            "protocol": self.protocol,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def split(
    labels: Sequence[str],
    parts: Sequence[str | None],
    contents: Sequence[str],
    groups: Sequence[Sequence[Hashable | None]] = (),
    *,
    test_share: float,
    seed: int,
    classes: Sequence[str],
) -> DataSplit:
    """Divide samples into training, validation and test, so that the test is honest.

    With no parts, or training alone: of each class `test_share` becomes the test, whole groups on one side, taken in
    the order of a hash of seed and content, so that adding images reshuffles nothing and names play no role. Two parts:
    the second is the test. Three: validation may choose, the test is looked at once. Given parts are never altered;
    groups that cross them are a finding, see `crossing_groups`.

    Args:
        labels, parts, contents: of each sample; contents are sha256 in hex, and equal ones always belong together.
        groups: any number of groupings, each with a group or None for every sample; see `merge_groups`.
        test_share: in (0, 1).
        classes: that can be learnt; samples of other labels become `unknown`.

    Raises:
        DataError: only some samples have a part, no training images, or no test images.
        RecipeError: test_share is out of range.
    """
    if not 0 < test_share < 1:
        raise RecipeError(expected="a share between 0 and 1", found=str(test_share), where="--test-share")
    numbers = merge_groups(len(labels), [[content or None for content in contents], *groups])
    known = set(classes)
    by_part: dict[str | None, list[int]] = defaultdict(list)
    for index, (label, part) in enumerate(zip(labels, parts, strict=True)):
        by_part[part if label in known else "unknown"].append(index)
    unknown = tuple(by_part.pop("unknown", ()))
    _check_parts(parts, by_part)
    train = by_part.get("train") or by_part.get(None) or []
    validation, test = by_part.get("validation", []), by_part.get("test", [])
    findings: list[Finding] = []
    given = {"validation", "test"}.intersection(parts)
    if not given:
        train, test, findings = _divide(_order(train, labels, contents, numbers, seed), test_share)
        protocol = (
            f"{test_share * 100:g} % of each class is the test, chosen by content with seed {seed}, groups kept whole; "
            "everything is chosen on the other images, by leaving groups out."
        )
    elif len(given) == 2:
        protocol = "The set's own three parts: validation may choose, the test is looked at once."
    else:
        validation, test = [], test or validation
        protocol = f"The set's own two parts: {given.pop()} is the test, and nothing is chosen on it."
    if not test:
        raise _no_test(findings)
    return DataSplit(tuple(train), tuple(validation), tuple(test), numbers, protocol, unknown, tuple(findings))


def _check_parts(parts: Sequence[str | None], by_part: dict[str | None, list[int]]) -> None:
    counts = Counter(parts)
    if None in counts and len(counts) > 1:
        found = f"{counts[None]} of {len(parts)} images in none"
        raise DataError(expected="every image in a part, or none", found=found, hint="Move them into train/ or test/.")
    if not by_part.get("train") and not by_part.get(None):
        found = ", ".join(f"{part} ({count})" for part, count in counts.items()) or "no images"
        hint = "Name the part that is to be learnt from train."
        raise DataError(expected="training images", found=found, hint=hint)


def _no_test(findings: Sequence[Finding]) -> DataError:
    said = " ".join(finding.message for finding in findings)
    hint = "Add images, or group them by something finer than the class (--group-by)."
    return DataError(expected="at least one test image of a known class", found=f"none. {said}".rstrip(), hint=hint)


def merge_groups(count: int, groupings: Sequence[Sequence[Hashable | None]]) -> tuple[int, ...]:
    """Group number of each of `count` samples when any grouping that joins two of them joins them.

    Numbers start at 0, in order of first appearance; None joins nothing, so single samples get their own number.

    Raises:
        ValueError: a grouping has another length than `count`.
    """
    parent = list(range(count))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]  # halving keeps the paths short
            index = parent[index]
        return index

    for grouping in groupings:
        first: dict[Hashable, int] = {}
        for index, group in zip(range(count), grouping, strict=True):
            if group is not None:
                one, other = find(index), find(first.setdefault(group, index))
                parent[max(one, other)] = min(one, other)
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(find(index), len(numbers)) for index in range(count))


@dataclass(frozen=True)
class _Group:
    """Images that stay together: how many of each class, and the order in which they are asked."""

    indices: tuple[int, ...]
    sizes: Counter[str]
    key: str


def _divide(groups: Sequence[_Group], test_share: float) -> tuple[list[int], list[int], list[Finding]]:
    """Indices of training and test, from groups in the order in which they are asked."""
    sizes: Counter[str] = Counter()
    for group in groups:
        sizes.update(group.sizes)
    # half up, and at least one: a class that is never tested has no number
    quota = {label: max(1, int(test_share * size + 0.5)) for label, size in sizes.items()}
    left = Counter(label for group in groups for label in group.sizes)  # groups still in training, by class
    tested: Counter[str] = Counter()
    test: list[int] = []

    def may_leave(group: _Group) -> bool:
        return all(left[label] > 1 for label in group.sizes)

    def take(group: _Group) -> None:
        test.extend(group.indices)
        tested.update(group.sizes)
        left.subtract(dict.fromkeys(group.sizes, 1))

    for group in groups:
        # taken when it brings its classes nearer to their quotas, counted in images
        now = sum(abs(tested[label] - quota[label]) for label in group.sizes)
        then = sum(abs(tested[label] + size - quota[label]) for label, size in group.sizes.items())
        if then < now and may_leave(group):
            take(group)
    for label in sorted(sizes):  # a class of few large groups: the smallest one is tested
        if not tested[label]:
            fitting = [group for group in groups if label in group.sizes and may_leave(group)]
            if fitting:
                take(min(fitting, key=lambda group: (len(group.indices), group.key)))
    findings = _untested([label for label in sorted(sizes) if not tested[label]], sizes)
    train = {index for group in groups for index in group.indices} - set(test)
    return sorted(train), sorted(test), findings


def _order(
    indices: Sequence[int], labels: Sequence[str], contents: Sequence[str], numbers: Sequence[int], seed: int
) -> list[_Group]:
    """Groups by the hash of the seed and their smallest content.

    The hash is taken after the minimum: a minimum of hashes would put large groups first, and so into the test.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index in indices:
        members[numbers[index]].append(index)
    groups = []
    for its in members.values():
        smallest = min(contents[index] for index in its)
        key = hashlib.sha256(f"{seed}:{smallest}".encode()).hexdigest()
        groups.append(_Group(tuple(its), Counter(labels[index] for index in its), key))
    return sorted(groups, key=lambda group: group.key)


def _untested(labels: Sequence[str], sizes: Counter[str]) -> list[Finding]:
    if not labels:
        return []
    said = ", ".join(f"{label!r} ({sizes[label]} images)" for label in labels)
    message = f"No test image for {said}: all its images belong together, so they stay in training."
    detail = {"classes": list(labels), "counts": {label: sizes[label] for label in labels}}
    return [Finding("untested-class", "problem", message, detail=detail)]
