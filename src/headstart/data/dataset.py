"""Dataset: the readable images of a source with labels, groups, splits and audit, aligned by index, computed once.

source ─scan─▶ ImageSet ─index─▶ ImageFacts ─audit─▶ Dataset ─with_split─▶ Dataset with training, validation and test
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.data.audit.audit import Audit, AuditSettings, audit_images
from headstart.data.audit.check import AuditInput
from headstart.data.finding import SEVERITIES, Finding
from headstart.data.image_index import ImageFacts, ImageIndex
from headstart.data.image_set import ImageSet, Sample, scan
from headstart.data.images import ImageRules
from headstart.data.split import DataSplit, SplitInput, find_leaks, make_split, merge_groups
from headstart.errors import DataError
from headstart.plain import data_frame
from headstart.progress import OnStep
from headstart.public_api import public_methods
from headstart.recipe import Recipe
from headstart.wording import listed

Labels = NDArray[np.int64]

_NAMED = 10  # classes in an error
SPLITS = ("train", "validation", "test", "unknown")


@public_methods("indices", "labels_in", "with_split", "subset")
@dataclass(frozen=True, eq=False)
class Dataset:
    """N readable images and what is known about them; every field is aligned with `samples`, sorted by name.

    Args:
        image_set: as scanned, unreadable images included.
        samples: N. facts: N, what decoding showed. contents: N, SHA-256 of the files' bytes, hex.
        labels: N int64, index into `classes`; -1 for a class that training does not have.
        groupings: confirmed duplicates, then groups by table and by name; each with a group or None for every image.
        duplicate_groups: all confirmed groups of duplicates, oversized ones too, as indices.
        audit: of the whole source.
        rules: how images are opened.
        split: which images train, choose and test; None before `with_split`.
        splits: N, `train`, `validation`, `test` or `unknown`; empty before `with_split`.
    """

    image_set: ImageSet
    samples: tuple[Sample, ...]
    facts: tuple[ImageFacts, ...]
    contents: tuple[str, ...]
    labels: Labels
    groupings: tuple[tuple[Any, ...], ...]
    duplicate_groups: tuple[tuple[int, ...], ...]
    audit: Audit
    rules: ImageRules
    split: DataSplit | None = None
    splits: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:  # short: its fields have a line and more for each image
        return f"Dataset({self})"

    def __str__(self) -> str:
        return f"{len(self):,} images of {len(self.classes)} classes in {self.image_set.source}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return self.image_set.classes

    @property
    def protocol(self) -> str:
        """How training, validation and test came about, one sentence."""
        return self._needs_split().protocol

    def indices(self, name: str) -> Labels:
        """Indices of the images of the split `train`, `validation`, `test` or `unknown`, ascending; int64.

        Raises:
            DataError: the dataset has no split yet.
        """
        return np.array(getattr(self._needs_split(), name), dtype=np.int64)

    def groups(self) -> Labels:
        """N int64, number of the group of each image; images of one group belong together."""
        if self.split is not None:
            return np.array(self.split.groups, dtype=np.int64)
        return np.array(merge_groups(len(self), self.groupings), dtype=np.int64)

    def labels_in(self, classes: Sequence[str]) -> Labels:
        """N int64, labels in the class order of another classifier; -1 for a class that it does not know."""
        number = {name: i for i, name in enumerate(classes)}
        return np.array([number.get(sample.label or "", -1) for sample in self.samples], dtype=np.int64)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each split: split → class → count, classes sorted, empty splits left out.

        The training split has every class, also one without images.
        """
        counted: dict[str, dict[str, int]] = {name: {} for name in SPLITS[:3]}
        counted["train"] = dict.fromkeys(self.classes, 0)
        for sample, name in zip(self.samples, self.splits, strict=True):
            if name in counted:
                label = sample.label or ""
                counted[name][label] = counted[name].get(label, 0) + 1
        return {name: dict(sorted(classes.items())) for name, classes in counted.items() if any(classes.values())}

    def with_split(self, test_share: float, seed: int, *, stable: bool = False) -> Dataset:
        """The same images divided into training, validation and test; duplicates, bursts and groups stay together.

        Args:
            test_share, seed, stable: see `make_split`.

        Raises:
            DataError: no honest test is possible.
        """
        samples = SplitInput(
            labels=[sample.label or "" for sample in self.samples],
            splits=[sample.split for sample in self.samples],
            contents=self.contents,
            classes=self.classes,
            groupings=self.groupings,
        )
        made = make_split(samples, test_share=test_share, seed=seed, stable=stable)
        return replace(self, split=made, splits=_names_of(made, len(self)))

    def findings(self) -> tuple[Finding, ...]:
        """What the audit and the split found, problems first."""
        found = [*self.audit.findings, *(self.split.findings if self.split else ())]
        return tuple(sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity)))

    def leaked_test(self) -> NDArray[np.bool_]:
        """Whether each test image has a duplicate in training, whether the split was given or made here."""
        return np.isin(self._needs_split().test, find_leaks(self.duplicate_groups, self.splits))

    def fingerprint(self) -> str:
        """SHA-256 over content, label and split of every image, in no order: what is learnt from and tested on."""
        lines = sorted(
            f"{content}\t{sample.label or ''}\t{name}"
            for content, sample, name in zip(self.contents, self.samples, self.splits, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def _needs_split(self) -> DataSplit:
        if self.split is None:
            raise DataError(expected="a dataset with a split", found="one without", hint="Call with_split first.")
        return self.split

    def subset(self, indices: Sequence[int]) -> Dataset:
        """Some of the images in the given order, without a split; the audit stays that of the whole source."""
        place = {int(old): new for new, old in enumerate(indices)}
        duplicates = (tuple(place[i] for i in group if i in place) for group in self.duplicate_groups)
        return replace(
            self,
            samples=tuple(self.samples[i] for i in indices),
            facts=tuple(self.facts[i] for i in indices),
            contents=tuple(self.contents[i] for i in indices),
            labels=self.labels[list(indices)],
            groupings=tuple(tuple(grouping[i] for i in indices) for grouping in self.groupings),
            duplicate_groups=tuple(group for group in duplicates if len(group) > 1),
            split=None,
            splits=(),
        )

    def training_only(self) -> Dataset:
        """The training images as a dataset without a split, whose groups are those of this split."""
        train = self.indices("train")
        groups = tuple(int(group) for group in self.groups()[train])
        chosen = self.subset(train.tolist())
        samples = tuple(replace(sample, split=None) for sample in chosen.samples)
        return replace(chosen, samples=samples, groupings=(groups,))

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row per image: name, path, label, split, group, sha256, width, height.

        Raises:
            RunError: pandas is not installed.
        """
        return data_frame(
            {
                "name": [sample.name for sample in self.samples],
                "path": [str(sample.path) for sample in self.samples],
                "label": [sample.label for sample in self.samples],
                "split": self.splits or [sample.split for sample in self.samples],
                "group": self.groups(),
                "sha256": self.contents,
                "width": [fact.width for fact in self.facts],
                "height": [fact.height for fact in self.facts],
            }
        )


def rules_of(recipe: Recipe) -> ImageRules:
    """How a recipe opens images.

    Raises:
        RecipeError: the background is not a colour.
    """
    return ImageRules.named(
        recipe.background, recipe.max_pixels, keep_damaged=recipe.keep_damaged, bit_depth=recipe.bit_depth
    )


def audit_settings(recipe: Recipe, rules: ImageRules, *, stop: bool) -> AuditSettings:
    """How a recipe audits a data set; `stop`: see `load_dataset`."""
    return AuditSettings(
        rules=rules,
        group_by=recipe.group_by,
        max_bad_share=recipe.max_bad_share,
        stop=stop,
        verify=recipe.verify,
        workers=recipe.workers or runtime.cores(),
    )


def load_dataset(
    source: Path,
    recipe: Recipe,
    *,
    progress: OnStep,
    least_classes: int = 2,
    rules: ImageRules | None = None,
    known: Sequence[str] = (),
    stop: bool = True,
    decided: Mapping[str, str | None] | None = None,
) -> Dataset:  # eight: the last five by name, for callers that are not a training
    """Scan and audit a source; files seen before, by path, size and times, are not read again.

    Args:
        progress: (name of the step, unit) → a function that is called with (done, total).
        least_classes: 1 accepts a set of one class, to evaluate a classifier on it.
        rules: how images are opened; None: as the recipe says.
        known: classes of a classifier, one of which must occur, which is seen before any image is opened; empty: any.
        stop: False, as for an audit: whatever would stop a training is a finding.
        decided: content hash of an image → its label by review, None where it is left out; before the audit.

    Raises:
        DataError: there is no usable set, or more images than `max_bad_share` cannot be read.
        RecipeError: `group_by` is not a valid pattern.
    """
    rules = rules or rules_of(recipe)
    cache = runtime.cache_folder()
    layout = recipe.layout
    image_set = scan(source, unpack_into=cache / "archives", least_classes=least_classes, layout=layout, stop=stop)
    _check_known(image_set, known)
    settings = replace(audit_settings(recipe, rules, stop=stop), decided=decided or {})
    index = ImageIndex(cache)
    try:
        images, audit = audit_images(
            image_set,
            index,
            settings,
            progress=progress,
        )
    finally:
        index.close()
    return readable_dataset(replace(image_set, samples=images.samples), images, audit, rules=rules)


def _check_known(image_set: ImageSet, known: Sequence[str]) -> None:
    labels = Counter(sample.label or "" for sample in image_set.samples)
    if not known or any(name in labels for name in known):
        return
    raise DataError(
        expected=f"images of {listed(known, _NAMED)}",
        found=f"only {listed([name for name, _ in labels.most_common()], _NAMED)}",
        where=image_set.source,
        hint="Name the class folders as the classifier knows them.",
    )


def readable_dataset(image_set: ImageSet, images: AuditInput, audit: Audit, *, rules: ImageRules) -> Dataset:
    """The dataset of the images that can be read, everything aligned with them."""
    readable = [i for i, fact in enumerate(images.facts) if fact.error is None]
    place = {old: new for new, old in enumerate(readable)}
    samples = tuple(image_set.samples[i] for i in readable)
    kept = tuple(images.facts[i] for i in readable)
    number = {name: i for i, name in enumerate(image_set.classes)}
    labels = np.array([number.get(sample.label or "", -1) for sample in samples], dtype=np.int64)
    labels.setflags(write=False)
    return Dataset(
        image_set=image_set,
        samples=samples,
        facts=kept,
        contents=tuple(fact.content for fact in kept),
        labels=labels,
        groupings=tuple(
            tuple(grouping[i] for i in readable) for grouping in (audit.groups_for_split, *images.groupings)
        ),
        duplicate_groups=tuple(tuple(place[i] for i in group) for group in audit.duplicate_groups),
        audit=audit,
        rules=rules,
    )


def _names_of(made: DataSplit, count: int) -> tuple[str, ...]:
    names = [""] * count
    for name in SPLITS:
        for i in getattr(made, name):
            names[i] = name
    return tuple(names)
