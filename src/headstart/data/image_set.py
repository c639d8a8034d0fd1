"""An image set: a folder per class, parts with a folder per class, a table, or an archive of any of these.

In: a path. Out: ImageSet: samples sorted by name, classes by name, never by number. No image is opened here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.data.archive import is_archive, unpack
from headstart.data.class_folders import case_twins, find_top, read_layout, same_looking
from headstart.data.finding import Finding
from headstart.data.folder_scan import IMAGE_SUFFIXES, Tree, as_text, is_image, is_there, read_tree, say
from headstart.data.split_names import PARTS
from headstart.data.table import is_table, names_images, read_table
from headstart.errors import DataError, near

_NAMED = 20  # names that one finding lists; its detail has the full count
_LAYOUT = "Put each class in its own folder (photos/cat, photos/dog), or name images and labels in a csv table."


@dataclass(frozen=True)
class Sample:
    """One image file: where it is, its name inside the set (posix, what users see), and what is known about it.

    Args:
        part: `train`, `validation`, `test`, or None where the set has no parts.
        group: from a table's group column; images of one group stay on one side of a split.
    """

    path: Path
    name: str
    label: str | None
    part: str | None
    group: str | None


@dataclass(frozen=True)
class ImageSet:
    """Samples sorted by name, the classes that can be learnt from them, and what was noticed on the way.

    Args:
        root: folder that names are relative to; for an archive, where it was unpacked.
        classes: sorted class names of the training part, or of all samples where there is no training part.
        source: what the user named.
    """

    root: Path
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: classes, and the number of images of each class in each part (`all` without parts)."""
        counts: dict[str, Counter[str]] = {}
        for part in (None, *PARTS):
            labels = [sample.label or "" for sample in self.samples if sample.part == part]
            if labels:
                counts[part or "all"] = Counter(sorted(labels))
        return {
            "source": self.source,
            "root": str(self.root),
            "images": len(self.samples),
            "classes": list(self.classes),
            "counts": {part: dict(count) for part, count in counts.items()},
            "findings": [finding.to_dict() for finding in self.findings],
        }


def scan(
    source: Path,
    *,
    unpack_into: Path | None = None,
    image_suffixes: frozenset[str] = IMAGE_SUFFIXES,
    least_classes: int = 2,
) -> ImageSet:
    """Find the images of a set and their labels, without opening any.

    Args:
        source: folder, csv or tsv table, zip or tar archive.
        unpack_into: folder in which archives are unpacked, each under its own checksum.
        image_suffixes: lower case, with the dot.
        least_classes: 1 lets a set of one class pass, to evaluate a classifier on it.

    Raises:
        DataError: nothing there, no images, no class folders, too few classes, an unusable table or archive.
    """
    source = Path(source)
    _check_there(source)
    root = _absolute(source)
    if source.is_dir():
        return _from_folder(root, source, image_suffixes, least_classes)
    if is_table(source):
        return _from_table(root, root.parent, source, [], least_classes)
    if is_archive(source):
        if unpack_into is None:
            raise DataError(expected="a folder to unpack the archive into", found="none", where=source)
        root = unpack(source, _absolute(unpack_into))
        return _from_folder(root, source, image_suffixes, least_classes, is_strange=True)
    hint = "An image set is a folder; `headstart predict` takes single images." if is_image(source) else _LAYOUT
    expected = "a folder, a csv or tsv table, a zip or a tar"
    raise DataError(expected=expected, found="another file", where=as_text(str(source)), hint=hint)


def scan_unlabelled(paths: Sequence[Path]) -> list[Path]:
    """Image files in the order they were named, each folder replaced by its images sorted by name.

    A named file stays whatever it holds, and so do images under a foreign suffix or in a format that is not read: they
    become rows that say why, nothing is lost without a word. Hidden files and non-images inside a folder are left out.

    Raises:
        DataError: a path does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        _check_there(path)
        if not path.is_dir():
            found.append(path)
            continue
        tree = read_tree(path)
        named = {*tree.images, *tree.others.get("foreign-suffix", ()), *tree.others.get("unread-format", ())}
        if not named:
            raise DataError(expected="at least one image", found="none", where=as_text(str(path)))
        found.extend(path / name for name in sorted(named))
    return found


def _absolute(path: Path) -> Path:
    # links stay as the user wrote them, unless `..` must know where they lead
    return path.resolve() if ".." in path.parts else path.absolute()


def _check_there(path: Path) -> None:
    if is_there(path):
        return
    folder = path.absolute().parent
    beside = (
        sorted(as_text(entry.name) for entry in folder.iterdir())[:1000] if is_there(folder) and folder.is_dir() else []
    )
    hint = near(path.name, beside) if beside else f"{as_text(str(folder))} is not there either, or empty."
    # a long list of strangers helps nobody: only close names are as_text
    hint = (
        hint if not hint.startswith("Known") or len(beside) <= 10 else "Check the spelling and the folder you are in."
    )
    raise DataError(expected="a folder or file that exists", found="nothing there", where=as_text(str(path)), hint=hint)


def _from_folder(
    root: Path, source: Path, suffixes: frozenset[str], least: int, *, is_strange: bool = False
) -> ImageSet:
    tree = read_tree(root, suffixes)
    tables = [path for path in tree.others.get("not-image", ()) if is_table(Path(path)) and names_images(root / path)]
    top = find_top(tree, lambda folder: any(path.rpartition("/")[0] == folder.rstrip("/") for path in tables))
    beside = [path for path in tables if path.rpartition("/")[0] == top.rstrip("/")]
    findings = [_descended(top)] if top else []
    if len(beside) == 1:
        findings += tree.findings(used=beside)
        image_set = _from_table(root / beside[0], root, source, findings, least, may_leave=not is_strange)
        return replace(image_set, findings=(*image_set.findings, *_unlisted(tree, top, image_set)))
    placed, more = read_layout(tree, top)
    if beside and len({item.label for item in placed}) < 2:
        raise DataError(
            expected="one table that names images",
            found=say(map(as_text, beside)),
            where=as_text(str(source)),
            hint="Name the one to read; a split column can hold all parts.",
        )
    samples = [Sample(root / item.path, as_text(item.path), item.label, item.part, None) for item in placed]
    return _assemble(root, source, samples, [*findings, *tree.findings(), *more], least)


def _descended(top: str) -> Finding:
    message = f"The classes are read from the folder {as_text(top.rstrip('/'))}, the only one with images."
    return Finding("descended", "note", message, detail={"folder": as_text(top.rstrip("/"))})


def _from_table(
    table: Path, root: Path, source: Path, findings: list[Finding], least: int, *, may_leave: bool = True
) -> ImageSet:
    rows, more = read_table(table, root, may_leave=may_leave)
    samples = [Sample(row.path, row.name, row.label, row.part, row.group) for row in rows]
    note = Finding(
        "table", "note", f"Labels come from the table {as_text(table.name)}; folders are not read as classes."
    )
    return _assemble(root, source, samples, [note, *findings, *more], least)


def _unlisted(tree: Tree, top: str, image_set: ImageSet) -> list[Finding]:
    listed = {sample.path for sample in image_set.samples}
    names = [as_text(path) for path in tree.images if path.startswith(top) and image_set.root / path not in listed]
    if not names:
        return []
    message = f"{say(names)}: images that no usable line of the table names, not used."
    return [Finding("unlisted", "warning", message, tuple(names[:_NAMED]), detail={"count": len(names)})]


def _assemble(root: Path, source: Path, samples: list[Sample], findings: list[Finding], least: int) -> ImageSet:
    where = as_text(str(source))
    if not samples:
        found = " ".join(finding.message for finding in findings) or "an empty folder"
        raise DataError(expected="images in class folders", found=f"none. {found}", where=where, hint=_LAYOUT)
    samples.sort(key=lambda sample: sample.name)
    training = {sample.label or "" for sample in samples if sample.part in (None, "train")}
    classes = tuple(sorted(training or {sample.label or "" for sample in samples}))
    if len(classes) < least:
        found = f"{len(classes)} ({', '.join(map(repr, classes))}). {' '.join(finding.message for finding in findings)}"
        raise DataError(
            expected=f"at least {least} classes with images", found=found.rstrip(), where=where, hint=_LAYOUT
        )
    labels = {sample.label or "" for sample in samples}
    more = [*_align(samples, classes), *same_looking(labels), *case_twins([sample.name for sample in samples])]
    return ImageSet(root, tuple(samples), classes, (*findings, *more), where)


def _align(samples: list[Sample], classes: tuple[str, ...]) -> list[Finding]:
    """Classes that only some parts know; names decide, an index never does."""
    findings = []
    for part in PARTS[1:]:
        counts = Counter(sample.label or "" for sample in samples if sample.part == part)
        unknown = {label: counts[label] for label in sorted(counts) if label not in classes}
        absent = [label for label in classes if label not in counts]
        if unknown:
            names = [sample.name for sample in samples if sample.part == part and sample.label in unknown]
            said = ", ".join(f"{label!r} ({count} images)" for label, count in unknown.items())
            message = f"The {part} part has classes that training does not have: {said}. They are reported, not scored."
            detail = {"part": part, "count": len(names), "counts": unknown}
            findings.append(Finding("unknown-class", "problem", message, tuple(names[:_NAMED]), detail=detail))
        if counts and absent:
            message = (
                f"The {part} part has no image of {', '.join(map(repr, absent))}: nothing can be said about them there."
            )
            findings.append(Finding("missing-class", "warning", message, detail={"part": part, "classes": absent}))
    return findings
