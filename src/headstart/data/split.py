"""Which images train, which may be used for choices, which are tested: the user's own splits, else a split of ours.

In: label, split, content hash and groups of every sample. Out: DataSplit, as indices into the samples.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.data.finding import Finding
from headstart.errors import DataError, RecipeError
from headstart.runtime import collection_paused
from headstart.wording import percent

_FAR = 0.05  # a share of the test that is so far from the one asked for is said


@dataclass(frozen=True)
class DataSplit:
    """Indices of the samples by split, ascending, and the sentence that says how the split was made.

    Args:
        groups: group number of every sample; images of one number belong together, a single image has its own.
        protocol: one plain sentence for the report.
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


@dataclass(frozen=True, kw_only=True)
class SplitInput:
    """What a split is made from; entry i of each belongs to sample i.

    Args:
        labels: class names.
        splits: `train`, `validation`, `test`, or None where the data set has no splits.
        contents: sha256 in hex; images with equal content always belong together.
        classes: names that can be learned; samples of other labels become `unknown`.
        groupings: any number of them, each with a group or None for every sample; see `merge_groups`.
    """

    labels: Sequence[str]
    splits: Sequence[str | None]
    contents: Sequence[str]
    classes: Sequence[str]
    groupings: Sequence[Sequence[Hashable | None]] = ()


@collection_paused()
def make_split(samples: SplitInput, *, test_share: float, seed: int, stable: bool = False) -> DataSplit:
    """Divide samples into training, validation and test without groups on both sides of our own split.

    Without splits, or with training alone: of each class `test_share` becomes the test, whole groups on one side, taken
    in the order of a hash of seed and content, so that adding images moves few and names play no role. Two splits: the
    second is the test. Three: validation may be used for choices. The user's own splits are never altered; groups that
    are in several of them are a finding of the audit, `group-across-splits`.

    Args:
        test_share: in (0, 1).
        stable: each group is tested by its own hash, whatever others there are: adding groups moves none of those that
            were there, and `test_share` is met on average.

    Raises:
        DataError: only some samples have a split, no training images, or no test images.
        RecipeError: test_share is out of range.
    """
    if not 0 < test_share < 1:
        raise RecipeError(
            expected="a share between 0 and 1",
            found=str(test_share),
            where="--test-share",
            hint="Such as 0.2 for a fifth of the images.",
        )
    numbers = merge_groups(len(samples.labels), [[c or None for c in samples.contents], *samples.groupings])
    known = set(samples.classes)
    by_split: dict[str | None, list[int]] = defaultdict(list)
    for index, (label, split) in enumerate(zip(samples.labels, samples.splits, strict=True)):
        by_split[split if label in known else "unknown"].append(index)
    unknown = tuple(by_split.pop("unknown", ()))
    _check_splits(samples.splits, by_split)
    train = by_split.get("train") or by_split.get(None) or []
    validation, test = by_split.get("validation", []), by_split.get("test", [])
    findings: list[Finding] = []
    own = {"validation", "test"}.intersection(split for split in samples.splits if split)
    if not own:
        divide = _divide_each if stable else _divide
        train, test, findings = divide(_ordered_groups(train, samples, numbers, seed=seed, named=stable), test_share)
        chosen = _selected(len(test) / max(len(test) + len(train), 1), test_share, seed=seed, stable=stable)
        protocol = f"{chosen}; groups stay together. All choices are made on the other images, by leaving groups out."
    elif len(own) == 2:
        protocol = "Using your train/validation/test split. Choices may use `validation`; `test` is used once."
    else:
        validation, test = [], test or validation
        name = own.pop()
        protocol = f"Using your train/{name} split. `{name}` serves as the test set; nothing is selected on it."
    if not test:
        raise _no_test(findings)
    return DataSplit(
        train=tuple(train),
        validation=tuple(validation),
        test=tuple(test),
        groups=numbers,
        protocol=protocol,
        unknown=unknown,
        findings=tuple(findings),
    )


def _selected(found: float, test_share: float, *, seed: int, stable: bool) -> str:
    """Which images became the test, with the share that they really are where it is far from the one asked for."""
    if stable:
        return f"About {test_share * 100:g} % are test images, each selected by its own hash with seed {seed}"
    if abs(found - test_share) > _FAR:
        who = f"{percent(found)} of the images are test images instead of {test_share * 100:g} %, to keep groups whole"
    else:
        who = f"{test_share * 100:g} % of each class are test images"
    return f"{who}, selected by content with seed {seed}"


def find_leaks(groups: Sequence[Sequence[int]], splits: Sequence[str | None]) -> tuple[int, ...]:
    """Indices of the validation and test images that have another image of their group in training, ascending.

    Args:
        groups: indices of images that belong together. splits: of each image.
    """
    in_training = [group for group in groups if any(splits[i] == "train" for i in group)]
    return tuple(sorted(i for group in in_training for i in group if splits[i] in ("validation", "test")))


def merge_groups(count: int, groupings: Sequence[Sequence[Hashable | None]]) -> tuple[int, ...]:
    """Group number of each of `count` samples when any grouping that joins two of them joins them.

    Numbers start at 0, in order of first appearance; None joins nothing, so single samples get their own number.

    Raises:
        ValueError: a grouping has another length than `count`.
    """
    if not count:
        return ()
    pairs: list[tuple[int, int]] = []
    for grouping in groupings:
        first: dict[Hashable, int] = {}
        for index, group in zip(range(count), grouping, strict=True):
            if group is not None and (start := first.setdefault(group, index)) != index:
                pairs.append((start, index))
    starts, ends = np.array(pairs, dtype=np.int32).reshape(-1, 2).T  # scipy 1.11 takes no other type, and goes on
    from scipy.sparse import coo_array  # here: a fifth of a second to import, which a prediction never needs
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.bool_), (starts, ends)), shape=(count, count))
    _, components = connected_components(graph, directed=False)
    _, appearance, component = np.unique(components, return_index=True, return_inverse=True)
    return tuple(np.argsort(np.argsort(appearance))[component].tolist())


def _check_splits(splits: Sequence[str | None], by_split: dict[str | None, list[int]]) -> None:
    counts = Counter(splits)
    if None in counts and len(counts) > 1:
        found = f"{counts[None]} of {len(splits)} images in none"
        raise DataError(expected="every image in a split, or none", found=found, hint="Move them to train/ or test/.")
    if not by_split.get("train") and not by_split.get(None):
        found = ", ".join(f"{split} ({count})" for split, count in counts.items()) or "no images"
        hint = "Name the folder with the training images train."
        raise DataError(expected="training images", found=found, hint=hint)


def _no_test(findings: Sequence[Finding]) -> DataError:
    reasons = " ".join(finding.message for finding in findings)
    hint = "Add images, or group them by something finer than the class (--group-by)."
    return DataError(expected="at least one test image of a known class", found=f"none. {reasons}".rstrip(), hint=hint)


@dataclass(frozen=True, slots=True)
class _Group:
    """Images that stay together: how many of each class, and the key by which groups are ordered."""

    indices: tuple[int, ...]
    sizes: dict[str, int]
    key: str


def _divide(groups: Sequence[_Group], test_share: float) -> tuple[list[int], list[int], list[Finding]]:
    """Indices of training and test, from groups in the order in which they are considered for the test."""
    sizes = _class_sizes(groups)
    # half up, and at least one: a class without test images has no result
    quota = {label: max(1, int(test_share * size + 0.5)) for label, size in sizes.items()}
    left = Counter(label for group in groups for label in group.sizes)  # groups still in training, by class
    tested = dict.fromkeys(sizes, 0)
    test: list[int] = []

    def may_leave(group: _Group) -> bool:
        return all(left[label] > 1 for label in group.sizes)

    def take(group: _Group) -> None:
        test.extend(group.indices)
        for label, size in group.sizes.items():
            tested[label] += size
            left[label] -= 1

    for group in groups:
        # taken when it brings its classes nearer to their quotas, counted in images
        nearer = 0
        for label, size in group.sizes.items():
            nearer += abs(tested[label] - quota[label]) - abs(tested[label] + size - quota[label])
        if nearer > 0 and may_leave(group):
            take(group)
    for label in sorted(sizes):  # a class of few large groups: the smallest one is tested
        if not tested[label]:
            fitting = [group for group in groups if label in group.sizes and may_leave(group)]
            if fitting:
                take(min(fitting, key=lambda group: (len(group.indices), group.key)))
    because = "all images of the class belong together, so they stay in training"
    findings = _untested([label for label in sorted(sizes) if not tested[label]], sizes, because)
    train = {index for group in groups for index in group.indices} - set(test)
    return sorted(train), sorted(test), findings


def _divide_each(groups: Sequence[_Group], test_share: float) -> tuple[list[int], list[int], list[Finding]]:
    """The same, where each group is tested by its own hash alone; a class keeps one group for training at least."""
    sizes = _class_sizes(groups)
    tested = [group for group in groups if int(group.key[:16], 16) < test_share * 2**64]
    trained = {label for group in groups[len(tested) :] for label in group.sizes}  # groups are sorted by their hashes
    for label in sorted(sizes):
        if label not in trained:
            last = [group for group in tested if label in group.sizes][-1]
            tested.remove(last)
            trained.update(last.sizes)
    test = {index for group in tested for index in group.indices}
    seen = {label for group in tested for label in group.sizes}
    because = "no hash chose one. More images, or a split without --stable-split, give it some"
    findings = _untested([label for label in sorted(sizes) if label not in seen], sizes, because)
    return sorted({index for group in groups for index in group.indices} - test), sorted(test), findings


def _class_sizes(groups: Sequence[_Group]) -> dict[str, int]:
    """Images of each class."""
    sizes: dict[str, int] = defaultdict(int)
    for group in groups:
        for label, size in group.sizes.items():
            sizes[label] += size
    return dict(sizes)


def _ordered_groups(
    indices: Sequence[int], samples: SplitInput, numbers: Sequence[int], *, seed: int, named: bool
) -> list[_Group]:
    """Groups by the hash of the seed and their smallest content.

    The hash is taken after the minimum: a minimum of hashes would put large groups first, and so into the test.

    Args:
        named: by their smallest name in place of the content, where they have one: new images change none of it.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index in indices:
        members[numbers[index]].append(index)
    groups, contents = [], samples.contents
    for own in members.values():
        names = [one[i] for one in samples.groupings for i in own if isinstance(one[i], str)] if named else []
        smallest = min(map(str, names), default="") or min([contents[index] for index in own])
        key = hashlib.sha256(f"{seed}:{smallest}".encode()).hexdigest()
        sizes: dict[str, int] = {}
        for index in own:
            sizes[samples.labels[index]] = sizes.get(samples.labels[index], 0) + 1
        groups.append(_Group(tuple(own), sizes, key))
    return sorted(groups, key=lambda group: group.key)


def _untested(labels: Sequence[str], sizes: Mapping[str, int], because: str) -> list[Finding]:
    if not labels:
        return []
    names = ", ".join(f"{label!r} ({sizes[label]} images)" for label in labels)
    message = f"No test image for {names}: {because}."
    detail = {"classes": list(labels), "counts": {label: sizes[label] for label in labels}}
    return [Finding("untested-class", "problem", message, detail=detail)]
