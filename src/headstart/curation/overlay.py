"""Decisions laid over a data set: other labels, fewer training images; files and split stay as they are.

In: a dataset with its split, decisions. Out: the dataset that is trained on, and the decisions about test images apart,
which change no reported number: a test that follows the reviewer's own choices is no longer independent of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.curation.decisions import Decision, Decisions
from headstart.data.dataset import Dataset, Labels
from headstart.errors import DataError
from headstart.evaluation.design_effect import shared_groups
from headstart.evaluation.intervals import Interval, share_interval
from headstart.plain import Plain
from headstart.wording import NBSP, counted, percent


@dataclass(frozen=True)
class Overlay:
    """A dataset under decisions.

    Args:
        dataset: training and validation images relabelled, dropped ones left out; test images as they were.
        relabelled, dropped, kept: how many images that are not test images.
        test: index of a test image → its decision.
        elsewhere: decisions about images that are not in this data set.
    """

    dataset: Dataset
    relabelled: int
    dropped: int
    kept: int
    test: dict[int, Decision]
    elsewhere: int

    @property
    def summary(self) -> str:
        """What was applied, in one or two sentences."""
        parts = [f"{self.relabelled:,} relabelled", f"{self.dropped:,} left out", f"{self.kept:,} kept as labelled"]
        count = self.relabelled + self.dropped + self.kept
        text = f"{counted(count, 'decision')} of your review applied to the training images: {', '.join(parts)}."
        if self.test:
            about = "are about test images: they" if len(self.test) > 1 else "is about a test image: it"
            text += f" {len(self.test):,} more {about} change{'' if len(self.test) > 1 else 's'} no reported number."
        if self.elsewhere:
            text += f" {counted(self.elsewhere, 'decision')} about images that are not here."
        return text

    def to_dict(self) -> dict[str, int]:
        """Counts for run.json."""
        return {
            "relabelled": self.relabelled,
            "dropped": self.dropped,
            "kept": self.kept,
            "test": len(self.test),
            "elsewhere": self.elsewhere,
        }


def lay_over(dataset: Dataset, decisions: Decisions) -> Overlay:
    """Apply decisions by the content of the images: copies of one image share its decision.

    Args:
        dataset: with its split, made of the labels on disk, so that a decision moves no image to another split.

    Raises:
        DataError: an image is relabelled to a class that the data set does not have, or a class loses all its training
            images.
    """
    by_content = decisions.by_content
    found = {i: by_content[content] for i, content in enumerate(dataset.contents) if content in by_content}
    test = set(dataset.indices("test").tolist())
    here = {i: one for i, one in found.items() if i not in test}
    _check_classes(list(here.values()), dataset.classes)
    samples, labels = list(dataset.samples), dataset.labels.copy()
    number = {name: i for i, name in enumerate(dataset.classes)}
    for i, one in here.items():
        if one.label is not None:
            samples[i], labels[i] = replace(samples[i], label=one.label), number[one.label]
    dropped = [i for i, one in here.items() if one.label is None]
    relabelled = sum(labels[i] != dataset.labels[i] for i in here)
    changed = replace(dataset, samples=tuple(samples), labels=labels)
    rest = _without(changed, dropped)
    _check_left(dataset, rest)
    place = {old: new for new, old in enumerate(np.setdiff1d(np.arange(len(dataset)), dropped).tolist())}
    return Overlay(
        dataset=rest,
        relabelled=int(relabelled),
        dropped=len(dropped),
        kept=len(here) - len(dropped) - int(relabelled),
        test={place[i]: one for i, one in found.items() if i in test},
        elsewhere=len(by_content.keys() - set(dataset.contents)),
    )


def _without(dataset: Dataset, dropped: Sequence[int]) -> Dataset:
    """The dataset without some images, the others in their splits and groups."""
    split = dataset.split
    if not dropped or split is None:
        return dataset
    keep = np.setdiff1d(np.arange(len(dataset)), dropped).tolist()
    place = {old: new for new, old in enumerate(keep)}

    def some(indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(place[i] for i in indices if i in place)

    fewer = replace(
        split,
        train=some(split.train),
        validation=some(split.validation),
        test=some(split.test),
        unknown=some(split.unknown),
        groups=tuple(split.groups[i] for i in keep),
    )
    return replace(dataset.subset(keep), split=fewer, splits=tuple(dataset.splits[i] for i in keep))


def _check_classes(decisions: Sequence[Decision], classes: Sequence[str]) -> None:
    for one in decisions:
        if one.label is not None and one.label not in classes:
            raise DataError(
                expected=f"decisions for these classes: {', '.join(classes)}",
                found=f"{one.image!r} relabelled to {one.label!r}",
                where="--review",
                hint="Decide again with headstart review, or leave --review away.",
            )


def _check_left(before: Dataset, after: Dataset) -> None:
    counts = [np.bincount(one.labels[one.indices("train")], minlength=len(one.classes)) for one in (before, after)]
    for name, was, now in zip(before.classes, *counts, strict=True):
        if was and not now:
            raise DataError(
                expected="training images of every class",
                found=f"none of {name!r}: all {was:,} are relabelled or dropped",
                where="--review",
                hint="Take a decision back: headstart review RUN --undo",
            )


@dataclass(frozen=True)
class ReviewedScore(Plain):
    """Accuracy on test images as labelled, and by the decisions about them; the first is the one that is reported.

    Args:
        reported, reviewed: with intervals. relabelled, dropped: how many test images.
    """

    reported: Interval
    reviewed: Interval
    relabelled: int
    dropped: int

    def __str__(self) -> str:
        first, second = (f"{percent(one.value)} [{one.low * 100:.1f}, {one.high * 100:.1f}]" for one in self._both)
        return (
            f"With your decisions on test images ({self.relabelled:,} relabelled, {self.dropped:,} left out) the "
            f"accuracy would be {second}; as labelled, and as reported, it is {first}. Choosing the test by looking at "
            f"mistakes makes it look better: the second number is no independent one.{NBSP}"
        ).rstrip(NBSP)

    @property
    def _both(self) -> tuple[Interval, Interval]:
        return self.reported, self.reviewed


def reviewed_score(
    predicted: Labels, labels: Labels, *, decided: Sequence[Decision | None], classes: Sequence[str], groups: Labels
) -> ReviewedScore | None:
    """Both accuracies of some test images; None where no decision changes one of them.

    Args:
        predicted, labels: M, in [0, C). decided: M, None where nothing was decided. groups: M.
    """
    number = {name: i for i, name in enumerate(classes)}
    kept: NDArray[np.bool_] = np.array([one is None or one.label is not None for one in decided], dtype=np.bool_)
    # a class that the classifier does not know is an error of it whatever it predicts
    named = [None if one is None else one.label for one in decided]
    after = np.array(
        [label if name is None else number.get(name, -1) for label, name in zip(labels, named, strict=True)]
    )
    relabelled = int((after != labels)[kept].sum())
    if kept.all() and not relabelled:
        return None
    correct, reviewed = predicted == labels, (predicted == after)[kept]
    if not len(reviewed):
        return None
    return ReviewedScore(
        reported=share_interval(correct, shared_groups(groups.tolist())),
        reviewed=share_interval(reviewed, shared_groups(groups[kept].tolist())),
        relabelled=relabelled,
        dropped=int((~kept).sum()),
    )
