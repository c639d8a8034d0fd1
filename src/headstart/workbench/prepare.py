"""What every verb does first with a folder of images: find them, look at each once, and for training split them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.data.audit.audit import Audit, AuditSettings, audit_images
from headstart.data.finding import SEVERITIES, Finding
from headstart.data.image_index import ImageFacts, ImageIndex
from headstart.data.image_set import ImageSet, Sample, scan
from headstart.data.images import ImageRules
from headstart.data.split import DataSplit, SplitInput, find_leaks, make_split
from headstart.features.cache import FeatureCache
from headstart.features.extract import ImageFiles
from headstart.progress import OnEvent, ProgressReporter
from headstart.recipe import Recipe
from headstart.workbench.events import DatasetSummary
from headstart.workbench.run import data_fingerprint


@dataclass(frozen=True)
class Prepared:
    """An audited set; everything is aligned with `samples`, the readable images in the order of their names.

    Args:
        image_set: as scanned, unreadable images included.
        facts: of the readable images.
        duplicates: confirmed group of duplicates that counts for splitting, or None, for each image.
        duplicate_groups: all confirmed groups of duplicates, oversized ones too.
        groups: by table and by name, see `find_groups`.
        audit: of the whole set.
    """

    image_set: ImageSet
    samples: tuple[Sample, ...]
    facts: tuple[ImageFacts, ...]
    duplicates: tuple[int | None, ...]
    duplicate_groups: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[str | None, ...], ...]
    audit: Audit
    rules: ImageRules

    @property
    def files(self) -> ImageFiles:
        """The readable images for extraction."""
        return ImageFiles(
            tuple(sample.path for sample in self.samples),
            tuple(sample.name for sample in self.samples),
            tuple(fact.content for fact in self.facts),
            self.rules,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names of the readable images."""
        return tuple(sample.label or "" for sample in self.samples)


def prepare(
    source: Path, recipe: Recipe, on_event: OnEvent, *, least_classes: int = 2, rules: ImageRules | None = None
) -> Prepared:
    """Scan and audit; files that were looked at before, by path, size and time, are not read again.

    Args:
        rules: how images are opened; None: as the recipe says.

    Raises:
        DataError: there is no usable set, or more images than `max_bad_share` cannot be read.
        RecipeError: `group_by` is no pattern.
    """
    rules = rules or ImageRules.named(recipe.background, recipe.max_pixels)
    cache = runtime.cache_folder()
    image_set = scan(source, unpack_into=cache / "archives", least_classes=least_classes)
    settings = AuditSettings(
        rules=rules,
        group_by=recipe.group_by,
        max_bad_share=recipe.max_bad_share,
        verify=recipe.verify,
        workers=recipe.workers or runtime.cores(),
    )
    index = ImageIndex(cache)
    try:
        images, audit = audit_images(
            image_set,
            index,
            settings,
            progress=ProgressReporter(on_event, "look at the images"),
            pair_progress=ProgressReporter(on_event, "compare likely duplicates", unit="pairs"),
        )
    finally:
        index.close()
    readable = [i for i, fact in enumerate(images.facts) if fact.error is None]
    place = {i: k for k, i in enumerate(readable)}
    return Prepared(
        image_set=image_set,
        samples=tuple(image_set.samples[i] for i in readable),
        facts=tuple(images.facts[i] for i in readable),
        duplicates=tuple(audit.groups_for_split[i] for i in readable),
        duplicate_groups=tuple(tuple(place[i] for i in group) for group in audit.duplicate_groups),
        groups=tuple(tuple(grouping[i] for i in readable) for grouping in images.groupings),
        audit=audit,
        rules=rules,
    )


def split_prepared(prepared: Prepared, recipe: Recipe) -> DataSplit:
    """Training, validation and test; copies, bursts and `--group-by` groups stay on one side.

    Raises:
        DataError: no honest test can be made.
    """
    samples = SplitInput(
        labels=prepared.labels,
        splits=[sample.split for sample in prepared.samples],
        contents=[fact.content for fact in prepared.facts],
        classes=prepared.image_set.classes,
        groupings=[prepared.duplicates, *prepared.groups],
    )
    return make_split(samples, test_share=recipe.test_share, seed=recipe.seed)


def found(prepared: Prepared, parts: DataSplit, source: Path) -> DatasetSummary:
    """What `train` tells first: classes, counts, split, problems."""
    counts = {
        name: dict(sorted(Counter(prepared.labels[i] for i in indices).items()))
        for name, indices in (("train", parts.train), ("validation", parts.validation), ("test", parts.test))
        if indices
    }
    findings = by_severity([*prepared.audit.findings, *parts.findings])
    images = len(prepared.samples)
    return DatasetSummary(str(source), images, prepared.image_set.classes, counts, parts.protocol, findings)


def part_of(parts: DataSplit, count: int) -> list[str]:
    """`train`, `validation`, `test` or `unknown` for each of so many images."""
    names = [""] * count
    for name in ("train", "validation", "test", "unknown"):
        for i in getattr(parts, name):
            names[i] = name
    return names


def leaked_test(prepared: Prepared, parts: DataSplit) -> NDArray[np.bool_]:
    """Whether each test image has a copy in training, whether the parts were given or are our own split."""
    return np.isin(parts.test, find_leaks(prepared.duplicate_groups, part_of(parts, len(prepared.samples))))


def fingerprint_of(prepared: Prepared, parts: DataSplit) -> str:
    """SHA-256 over what is learnt from and tested on."""
    contents = [fact.content for fact in prepared.facts]
    return data_fingerprint(contents, prepared.labels, part_of(parts, len(contents)))


def by_severity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Problems first, then warnings, then notes."""
    return tuple(sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity)))


def feature_cache(recipe: Recipe) -> FeatureCache:
    """The user's cache of features under the recipe's limit."""
    return FeatureCache(runtime.cache_folder() / "features", recipe.cache_limit_gb * 1e9)


def recipe_from(recipe: Recipe | None, knobs: dict[str, object]) -> Recipe:
    """The recipe with some knobs changed.

    Raises:
        RecipeError: a knob is unknown or its value not allowed.
    """
    return (recipe or Recipe()).with_options(knobs)
