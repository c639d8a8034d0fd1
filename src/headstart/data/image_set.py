"""An image set: a folder per class, splits with a folder per class, a table, or an archive of any of these.

In: a path. Out: ImageSet: samples sorted by name, classes by name, never by number. No image is opened here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.data.archive import is_archive, unpack
from headstart.data.class_folders import case_collisions, find_root, read_class_folders, similar_class_names
from headstart.data.finding import FEW_NAMES, SCAN_NAMED, Finding, stopping
from headstart.data.folder_scan import (
    IMAGE_SUFFIXES,
    OWN,
    WAITING,
    Tree,
    as_text,
    exists,
    is_image,
    read_tree,
)
from headstart.data.split_words import SPLITS
from headstart.data.table import names_images, read_table
from headstart.data.table_cells import is_table
from headstart.data.video import is_video
from headstart.data.worker_sources import check_read_here
from headstart.data.zip_names import doubtful_names, say_doubt
from headstart.errors import DataError, near
from headstart.runtime import collection_paused
from headstart.source_layout import AUTO, SourceLayout
from headstart.untrusted import Untrusted, check_regular
from headstart.wording import counted, listed

_LAYOUT = "Put each class in its own folder (photos/cat, photos/dog), or list images and labels in a csv table."
_FILMS = "A folder stands for its images; predict takes a video by its own name, or a pattern such as *.mp4."


@dataclass(frozen=True)
class Sample:
    """One image file: where it is, its name in the data set (posix, what users see), and what is known about it.

    Args:
        split: `train`, `validation`, `test`, or None where the data set has no splits.
        group: from a table's group column; images of one group stay on one side of a split.
    """

    path: Path
    name: str
    label: str | None = None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class ImageSet:
    """Samples sorted by name, the classes that can be learned from them, and what the scan found.

    Args:
        root: folder that names are relative to; for an archive, where it was unpacked.
        classes: sorted class names of the training split, or of all samples where there is no training split.
        source: what the user named.
    """

    root: Path
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]
    source: str

    def __repr__(self) -> str:  # short: as for a Dataset
        return f"ImageSet({len(self.samples):,} images of {len(self.classes)} classes in {self.source})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: classes, and the images of each class in each split (`all` without splits)."""
        counts: dict[str | None, Counter[str]] = {split: Counter() for split in (None, *SPLITS)}
        for sample in self.samples:
            counts[sample.split][sample.label or ""] += 1
        return {
            "source": self.source,
            "root": str(self.root),
            "images": len(self.samples),
            "classes": list(self.classes),
            "counts": {split or "all": dict(sorted(count.items())) for split, count in counts.items() if count},
            "findings": [finding.to_dict() for finding in self.findings],
        }


def scan(
    source: Path,
    *,
    unpack_into: Path | None = None,
    image_suffixes: frozenset[str] = IMAGE_SUFFIXES,
    least_classes: int = 2,
    layout: SourceLayout = AUTO,
    stop: bool = True,
) -> ImageSet:  # six: the last two by name, for those who know more than the names say
    """Find the images of a data set and their labels, without opening any.

    Args:
        source: folder, csv, tsv or xlsx table, zip or tar archive.
        unpack_into: folder in which archives are unpacked, each under its own checksum.
        image_suffixes: lower case, with the dot.
        least_classes: 1 accepts a single class, to evaluate a classifier on it.
        layout: what the user says about columns and folders.
        stop: False, as for an audit: whatever would stop a training is a finding, and images without a usable label
            have none.

    Raises:
        DataError: nothing there, no images, no class folders, too few classes, an unusable table or archive.
    """
    source = Path(source)
    expected = "a folder, a csv or tsv table, a zip or a tar"
    check_read_here(source, expected=expected)
    _check_exists(source)
    scanner = _Scanner(source, _absolute(source), least_classes, layout=layout, stop=stop)
    if source.is_dir():
        return scanner.read_folder(image_suffixes)
    _check_file(source)
    if is_table(source):
        return replace(scanner, root=scanner.root.parent).read_table(scanner.root, [])
    if is_archive(source):
        if unpack_into is None:
            raise DataError(
                expected="a folder to unpack the archive into",
                found="none",
                where=source,
                hint="Name a folder, or unpack it yourself.",
            )
        root = unpack(source, _absolute(unpack_into), kept=True)
        found = replace(scanner, root=root, is_archive=True).read_folder(image_suffixes)
        return replace(found, findings=(*found.findings, *_doubtful(doubtful_names(source))))
    hint = "An image set is a folder; `headstart predict` takes single images." if is_image(source) else _LAYOUT
    raise DataError(expected=expected, found="another file", where=as_text(str(source)), hint=hint)


def scan_unlabelled(paths: Sequence[Path], on_skip: Callable[[str], None] | None = None) -> list[Path]:
    """Image files in the order they were named, each folder replaced by its images sorted by name.

    A named file stays whatever it holds, and so do images with a wrong suffix or in an unsupported format: they become
    rows with a reason, so that no image is lost silently. Hidden files and non-images in a folder are left out, and so
    is what headstart wrote into it.

    Args:
        on_skip: called with a sentence where headstart's own pictures or copies, or videos, are left out.

    Raises:
        DataError: no path is given, one does not exist, or a folder holds no image.
    """
    if not paths:
        raise DataError(expected="at least one image", found="none", where="images", hint="Name files or folders.")
    found: list[Path] = []
    for path in map(Path, paths):
        if os.path.isfile(path):  # noqa: PTH113  # unlike Path.is_file, False for names that no disk can hold
            found.append(path)
            continue
        _check_exists(path)
        if not path.is_dir():
            found.append(path)
            continue
        tree = read_tree(path)
        others = (tree.others.get(reason, ()) for reason in ("wrong-suffix", "unsupported-format", WAITING))
        named = {*tree.images, *(name for names in others for name in names)}
        own = [f"{path}: {finding.message}" for finding in tree.findings() if finding.detail["reason"] == OWN]
        films = [name for name in tree.others.get("not-image", ()) if is_video(name)]
        if films:
            own.append(f"{path}: {counted(len(films), 'video')} left out. {_FILMS}")
        if not named:
            none = " ".join(["none.", *own]) if own else "none"
            raise DataError(
                expected="at least one image",
                found=none,
                where=as_text(str(path)),
                hint="Name a folder with images, or images themselves; headstart audit says what a folder holds.",
            )
        if on_skip is not None:
            for sentence in own:
                on_skip(sentence)
        found.extend(path / name for name in sorted(named))
    return found


def _doubtful(names: list[str]) -> list[Finding]:
    """Names in a zip that may have other letters than their writer meant, classes among them."""
    if not names:
        return []
    return [Finding("zip-names", "warning", say_doubt(names), tuple(names[:SCAN_NAMED]), detail={"count": len(names)})]


def _absolute(path: Path) -> Path:
    # links stay as the user wrote them, unless `..` depends on where they lead
    return path.resolve() if ".." in path.parts else path.absolute()


def _check_file(path: Path) -> None:
    """Reading a pipe or a device never ends."""
    try:
        check_regular(path)
    except Untrusted as error:
        raise DataError(
            expected="a folder or a regular file",
            found=str(error),
            where=as_text(str(path)),
            hint="Write what it gives into a file first.",
        ) from error


def _check_exists(path: Path) -> None:
    if exists(path):
        return
    folder = path.absolute().parent
    is_folder = exists(folder) and folder.is_dir()
    beside = sorted(as_text(entry.name) for entry in folder.iterdir())[:1000] if is_folder else []
    hint = near(path.name, beside) if beside else f"{as_text(str(folder))} does not exist either, or is empty."
    # a long list of unrelated names helps nobody: only close names are shown
    if hint.startswith("Known") and len(beside) > 10:
        hint = "Check the spelling and the folder you are in."
    expected = "a folder or file that exists"
    raise DataError(expected=expected, found="nothing there", where=as_text(str(path)), hint=hint)


@dataclass(frozen=True)
class _Scanner:
    """A scan of one source: names are relative to `root`; a table in an archive may not name files outside it."""

    source: Path
    root: Path
    least_classes: int
    is_archive: bool = False
    layout: SourceLayout = AUTO
    stop: bool = True

    @collection_paused()
    def read_folder(self, suffixes: frozenset[str]) -> ImageSet:
        tree = read_tree(self.root, suffixes)
        others = tree.others.get("not-image", ())
        tables = [path for path in others if is_table(Path(path)) and names_images(self.root / path, self.layout)]
        folders = {path.rpartition("/")[0] for path in tables}
        folder = find_root(tree, lambda prefix: prefix.rstrip("/") in folders)
        beside = [path for path in tables if path.rpartition("/")[0] == folder.rstrip("/")]
        findings = [_wrapped(folder)] if folder else []
        if len(beside) == 1:
            image_set = self.read_table(self.root / beside[0], [*findings, *tree.findings(used=beside)])
            return replace(image_set, findings=(*image_set.findings, *_not_in_table(tree, folder, image_set)))
        labelled, more = read_class_folders(tree, folder, self.layout)
        findings += tree.findings()
        if beside and len({item.label for item in labelled}) < 2:
            several = stopping(
                "several-tables",
                expected="one table that lists images",
                found=f"{len(beside)} tables: {listed([as_text(name) for name in beside], FEW_NAMES)}",
                hint="Name the table to read; its split column can hold all splits.",
            )
            return self._assemble([], [*findings, several], tree.images)
        samples = [Sample(self.root / item.path, as_text(item.path), item.label, item.split) for item in labelled]
        return self._assemble(samples, [*findings, *more], tree.images)

    def read_table(self, table: Path, findings: list[Finding]) -> ImageSet:
        message = f"Labels come from the table {as_text(table.name)}; folders are not used as classes."
        findings = [Finding("table", "note", message), *findings]
        try:
            rows, more = read_table(table, self.root, may_leave=not self.is_archive, layout=self.layout)
        except DataError as error:
            if self.stop:
                raise
            rows, more = [], [stopping("table", expected=error.expected, found=error.found, hint=error.hint)]
        samples = [Sample(row.path, row.name, row.label, row.split, group=row.group) for row in rows]
        return self._assemble(samples, [*findings, *more])

    def _assemble(self, samples: list[Sample], findings: list[Finding], images: Sequence[str] = ()) -> ImageSet:
        """The image set, or the error of the first thing that stops a training.

        Args:
            images: all of the source, to audit those that have no label where none has one.
        """
        where = as_text(str(self.source))
        samples.sort(key=lambda sample: sample.name)
        classes, findings = find_classes(samples, self.layout.classes, self.least_classes, earlier=findings)
        stops = [finding for finding in findings if finding.stops_training]
        if stops and self.stop:
            raise stops[0].to_error(where)
        findings = [*findings, *class_findings(samples, classes)]
        if not samples:
            names = images or read_tree(self.root).images
            if not names:
                raise stops[0].to_error(where)
            samples = [Sample(self.root / name, as_text(name)) for name in names]
        return ImageSet(
            root=self.root,
            samples=tuple(samples),
            classes=classes,
            findings=(*findings, *case_collisions([sample.name for sample in samples])),
            source=where,
        )


def find_classes(
    samples: Sequence[Sample],
    listed_classes: tuple[str, ...],
    least: int,
    *,
    earlier: Sequence[Finding] = (),
    hint: str = _LAYOUT,
) -> tuple[tuple[str, ...], list[Finding]]:
    """The classes that can be learned, and the findings with those that stop a training.

    Args:
        listed_classes: those that the user lists; empty: those of the samples.
        least: how many there have to be. earlier: findings before, to which others are added.
        hint: what to do where there are too few.
    """
    there = tuple(sorted(_trained(samples) or _labels(samples)))
    findings = [*earlier, *_not_listed(samples, listed_classes)]
    if not any(finding.stops_training for finding in findings):
        others = _labels(samples) - {*there}
        findings = [*findings, *_too_few(there, others, findings, least=least, hint=hint)]
    return listed_classes or there, findings


def class_findings(samples: Sequence[Sample], classes: Sequence[str]) -> list[Finding]:
    """Classes without images in a split, or of nearly the same name; classes are compared by name."""
    return [
        *_without_images(classes, _trained(samples)),
        *_class_mismatches(samples, classes),
        *similar_class_names(_labels(samples)),
    ]


def _labels(samples: Sequence[Sample]) -> set[str]:
    return {sample.label or "" for sample in samples}


def _trained(samples: Sequence[Sample]) -> set[str]:
    return {sample.label or "" for sample in samples if sample.split in (None, "train")}


def _too_few(
    classes: Sequence[str], others: Set[str], findings: Sequence[Finding], *, least: int, hint: str
) -> list[Finding]:
    """Nothing, or what stops a training; `others`: classes without an image to train on."""
    if len(classes) >= least:
        return []
    messages = " ".join(finding.message for finding in findings)
    if not classes:
        found = f"none. {messages or 'an empty folder'}"
        return [stopping("no-labels", expected="images in class folders", found=found, hint=hint)]
    found = f"{len(classes)} ({', '.join(map(repr, classes))})"
    if others:
        found += f", and in other splits alone {', '.join(map(repr, sorted(others)))}"
    expected = f"at least {least} classes with images{' to train on' if others else ''}"
    return [stopping("few-classes", expected=expected, found=f"{found}. {messages}".rstrip(), hint=hint)]


def _not_listed(samples: Sequence[Sample], classes: tuple[str, ...]) -> list[Finding]:
    """What stops a training: images of classes that the user's own list does not have."""
    other = Counter(sample.label or "" for sample in samples if sample.label not in classes) if classes else Counter()
    if not other:
        return []
    meant = near(min(other), classes)
    meant = f" {meant}" if meant.startswith("Did") else ""  # the list is there already
    return [
        stopping(
            "other-class",
            expected=f"images of the listed classes only: {listed(classes)}",
            found=listed([f"{name} ({counted(other[name], 'image')})" for name in sorted(other)]),
            hint=f"Add them to the list, or leave these images out.{meant}",
            counts=dict(sorted(other.items())),
        )
    ]


def _without_images(classes: Sequence[str], training: set[str]) -> list[Finding]:
    """Listed classes that nothing can be learned of; they keep their place."""
    empty = [name for name in classes if name not in training] if training else []
    if not empty:
        return []
    message = f"No training image of {listed(empty)}: listed as a class, but not learned."
    return [Finding("empty-class", "warning", message, detail={"classes": empty})]


def _wrapped(prefix: str) -> Finding:
    folder = as_text(prefix.rstrip("/"))
    message = f"The classes are read from the folder {folder}, the only one with images."
    return Finding("wrapper-folder", "note", message, detail={"folder": folder})


def _not_in_table(tree: Tree, folder: str, image_set: ImageSet) -> list[Finding]:
    rows = {sample.path for sample in image_set.samples}
    names = [as_text(path) for path in tree.images if path.startswith(folder) and image_set.root / path not in rows]
    if not names:
        return []
    message = (
        f"{counted(len(names), 'image')} that no usable line of the table lists, not used: {listed(names, FEW_NAMES)}."
    )
    return [Finding("not-in-table", "warning", message, tuple(names[:SCAN_NAMED]), detail={"count": len(names)})]


def _class_mismatches(samples: Sequence[Sample], classes: Sequence[str]) -> list[Finding]:
    """Classes that only some splits have; classes are compared by name, never by index."""
    findings = []
    known = set(classes)
    for split in SPLITS[1:]:
        counts = Counter(sample.label or "" for sample in samples if sample.split == split)
        unknown = {label: counts[label] for label in sorted(counts) if label not in known}
        absent = [label for label in classes if label not in counts]
        if unknown:
            names = [sample.name for sample in samples if sample.split == split and sample.label in unknown]
            listed = ", ".join(f"{label!r} ({count} images)" for label, count in unknown.items())
            message = f"The {split} split has classes that training does not have: {listed}. They are not scored."
            detail = {"split": split, "count": len(names), "counts": unknown}
            findings.append(Finding("unknown-class", "problem", message, tuple(names[:SCAN_NAMED]), detail=detail))
        if counts and absent:
            listed = ", ".join(map(repr, absent))
            message = f"The {split} split has no image of {listed}: it gives no result for them."
            findings.append(Finding("missing-class", "warning", message, detail={"split": split, "classes": absent}))
    return findings
