"""The contact sheet: images of each class side by side, their sizes, and the audit's findings on them, as one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.data.dataset import Dataset
from headstart.data.finding import SEVERITIES, Finding
from headstart.data.image_index import ImageFacts
from headstart.errors import shown
from headstart.reports.gallery import MAX_IMAGES, Gallery, GalleryImage
from headstart.reports.page import write_page
from headstart.reports.report import shown_finding

PER_CLASS = 24  # images: four rows on a desktop; what a class is and what is odd in it shows in fewer
MOST_IMAGES = 600  # on the page, 4 MB: with more classes each shows fewer
_UNLABELLED = "no label"


@dataclass(frozen=True)
class AugmentedClass:
    """Views of some images of a class, as training would see them."""

    label: str
    views: tuple[GalleryImage, ...]


@dataclass(frozen=True, kw_only=True)
class ContactSheet:
    """What the page shows.

    Args:
        title: of the page. source: where the images are. images: how many there are.
        most: images shown of each class.
        augmentation: what is changed in a view, in sentences. augmented: examples of it.
        augmented_left_out: classes without an example.
        command: what to type next.
    """

    title: str
    source: str
    images: int
    most: int
    augmentation: str = ""
    augmented: tuple[AugmentedClass, ...] = ()
    augmented_left_out: int = 0
    command: str = ""


@dataclass(frozen=True)
class Picture:
    """An image on the sheet: its size in words; (number, severity, kind) of each finding that names it."""

    image: GalleryImage
    size: str
    findings: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class ClassSheet:
    """A class: how many images, their sizes and formats, how many have a finding, and those that are shown."""

    label: str
    images: int
    smallest: str
    median: str
    largest: str
    formats: str
    flagged: int
    pictures: tuple[Picture, ...]


def shown_per_class(classes: int, most: int = PER_CLASS) -> int:
    """Images of each class on the page, so that it stays below MOST_IMAGES; at least one."""
    return max(1, min(most, MOST_IMAGES // max(classes, 1)))


def write_contact_sheet(path: Path, dataset: Dataset, contents: ContactSheet) -> int:
    """Write the page; it appears whole or not at all.

    Returns:
        How many images of classes are on it.

    Raises:
        RunError: the file cannot be written there.
    """
    found = sorted(dataset.findings(), key=lambda one: -SEVERITIES.index(one.severity))
    samples = dataset.image_set.samples
    paths = {sample.name: sample.path for sample in samples}
    facts = {sample.name: fact for sample, fact in zip(dataset.samples, dataset.facts, strict=True)}
    by_label: dict[str, list[str]] = {label: [] for label in dataset.classes}
    for sample in samples:
        by_label.setdefault(sample.label or _UNLABELLED, []).append(sample.name)
    named = _findings_by_name(found)
    gallery = Gallery(paths, rules=dataset.rules, max_images=MOST_IMAGES)
    sheets = [
        _class_sheet(label, names, facts=facts, named=named, gallery=gallery, most=contents.most)
        for label, names in by_label.items()
    ]
    few = Gallery(paths, rules=dataset.rules, max_images=MAX_IMAGES)
    view = {"contents": contents, "sheets": sheets, "findings": [shown_finding(one, few) for one in found]}
    write_page(path, "contact_sheet.html", view)
    return sum(len(sheet.pictures) for sheet in sheets)


def _class_sheet(
    label: str,
    names: Sequence[str],
    *,
    facts: Mapping[str, ImageFacts],
    named: Mapping[str, tuple[tuple[int, str, str], ...]],
    gallery: Gallery,
    most: int,
) -> ClassSheet:  # six: the class, and what is known of all images
    known = sorted((facts[name] for name in names if name in facts), key=lambda fact: fact.width * fact.height)
    sizes = [_size(known[at]) if known else "–" for at in (0, len(known) // 2, -1)]
    formats = Counter(fact.format for fact in known)
    return ClassSheet(
        label=label,
        images=len(names),
        smallest=sizes[0],
        median=sizes[1],
        largest=sizes[2],
        formats=", ".join(f"{kind} {count:,}" for kind, count in formats.most_common()) or "–",
        flagged=sum(name in named for name in names),
        pictures=tuple(
            Picture(gallery.image(name), _size(facts.get(name)), named.get(name, ()))
            for name in choose(names, named, most)
        ),
    )


def choose(names: Sequence[str], flagged: Mapping[str, object], most: int) -> list[str]:
    """At most so many names, in their order: of flagged ones up to half, the others evenly spread."""
    if len(names) <= most:
        return list(names)
    first = [name for name in names if name in flagged][: max(1, most // 2)]
    rest = [name for name in names if name not in set(first)]
    places = np.linspace(0, len(rest) - 1, most - len(first)).round().astype(int)
    chosen = {*first, *(rest[place] for place in places)}
    return [name for name in names if name in chosen]


def _findings_by_name(found: Sequence[Finding]) -> dict[str, tuple[tuple[int, str, str], ...]]:
    """Image → number on the page, severity and kind of the findings that name it."""
    by_name: dict[str, list[tuple[int, str, str]]] = {}
    for number, finding in enumerate(found, start=1):
        about = (number, finding.severity, shown(finding.kind.replace("-", " ")))
        for name in {*finding.names, *(name for group in finding.groups for name in group)}:
            by_name.setdefault(name, []).append(about)
    return {name: tuple(several) for name, several in by_name.items()}


def _size(fact: ImageFacts | None) -> str:
    return f"{fact.width} × {fact.height}" if fact is not None else "size unknown"
