"""How a folder tells labels: a folder per class, alone or inside folders for the parts.

In: a Tree (paths only, no disk). Out: which image has which label and part, and what could not be used.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from headstart.data.finding import Finding
from headstart.data.folder_scan import Tree, as_text, say
from headstart.data.split_names import read_parts

_NAMED = 20  # names that one finding lists; its detail has the full count


@dataclass(frozen=True)
class Placed:
    """One image's path in the tree, with the label and part that its folders give it."""

    path: str
    label: str
    part: str | None


def find_top(tree: Tree, has_table: Callable[[str], bool]) -> str:
    """Folder that holds the classes or parts, as a prefix ending in `/`; empty for the tree's own root.

    A folder that holds images in only one folder of its own is a wrapping and is passed, unless that folder is a class
    (images directly inside) or a part (train, test, … with folders inside), or a table stands beside it.
    """
    top = ""
    while not has_table(top):
        direct, folders = _children(tree, top)
        if direct or len(folders) != 1:
            break
        (only,) = folders
        inside_direct, inside_folders = _children(tree, f"{top}{only}/")
        if (read_parts([only]) and inside_folders) or (inside_direct and not has_table(f"{top}{only}/")):
            break
        top += only + "/"
    return top


def _children(tree: Tree, top: str) -> tuple[int, set[str]]:
    """Number of images directly in a folder, and the names of its folders that hold images."""
    below = [path[len(top) :] for path in tree.images if path.startswith(top)]
    return sum("/" not in path for path in below), {path.split("/", 1)[0] for path in below if "/" in path}


def read_layout(tree: Tree, top: str) -> tuple[list[Placed], list[Finding]]:
    """Label and part of every image that stands in a class folder, and Findings for those that do not.

    The class is the first folder below the part (or below `top`); deeper folders are allowed and mean nothing. Class
    names are brought to Unicode's composed form (NFC), so that a Mac's and a zip's spelling of one name are one class.
    """
    parts = _find_parts(tree, top)
    findings = _part_findings(tree, top, parts)
    placed, loose, outside = [], [], []
    for path in tree.images:
        head, *rest = path[len(top) :].split("/") if path.startswith(top) else [""]
        if parts and head not in parts and rest:
            outside.append(path)
        elif len(rest) < (2 if parts else 1):
            loose.append(path)
        else:
            label = unicodedata.normalize("NFC", as_text(rest[0] if parts else head))
            placed.append(Placed(path, label, parts.get(head)))
    findings += _left_out("loose-images", "in no class folder", loose)
    findings += _left_out("unused-folder", "beside the parts' folders", outside)
    return placed, [*findings, *_empty_classes(tree, top, parts, placed)]


def _find_parts(tree: Tree, top: str) -> dict[str, str]:
    """Folder name → part; empty when the folders are classes.

    A lone `train` among other folders with images is a class (vehicles have trains); parts are recognised when two of
    them are there, or when nothing else holds images.
    """
    _, folders = _children(tree, top)
    parts = read_parts(sorted(folders))
    nested = any(_children(tree, f"{top}{folder}/")[1] for folder in parts)
    if not parts or (folders - set(parts) and not (nested and len(set(parts.values())) > 1)):
        return {}
    return parts


def _part_findings(tree: Tree, top: str, parts: dict[str, str]) -> list[Finding]:
    findings = []
    if not parts:
        for word in read_parts(sorted(_children(tree, top)[1])):
            message = f"The folder {word} is read as a class, since it stands among folders that name no part."
            findings.append(Finding("part-as-class", "warning", message, (as_text(top + word),)))
    for part, number in Counter(parts.values()).items():
        if number > 1:
            words = [word for word in parts if parts[word] == part]
            message = f"The folders {' and '.join(words)} are read together as the {part} part."
            findings.append(Finding("merged-parts", "warning", message, tuple(as_text(top + word) for word in words)))
    return findings


def _left_out(kind: str, where: str, paths: list[str]) -> list[Finding]:
    if not paths:
        return []
    names = tuple(as_text(path) for path in paths)
    message = f"{say(names)}: images {where}, not used."
    return [Finding(kind, "warning", message, names[:_NAMED], detail={"count": len(names)})]


def _empty_classes(tree: Tree, top: str, parts: dict[str, str], placed: list[Placed]) -> list[Finding]:
    """Folders at the place of a class or part that hold no image that is used."""
    full = {"/".join(item.path[len(top) :].split("/")[: 2 if parts else 1]) for item in placed}
    full |= {name.split("/")[0] for name in full}
    by_kind: dict[str, list[str]] = defaultdict(list)
    for folder in tree.folders:
        steps = folder[len(top) :].split("/") if folder.startswith(top) else []
        is_class = len(steps) == (2 if parts else 1) and (not parts or steps[0] in parts)
        is_part = bool(parts) and len(steps) == 1 and bool(read_parts(steps))
        if (is_class or is_part) and "/".join(steps) not in full:
            by_kind["empty-part" if is_part else "empty-class"].append(as_text(folder))
    words = {"empty-class": "class folders without a usable image", "empty-part": "part folders without a class"}
    return [
        Finding(
            kind,
            "warning",
            f"{say(names)}: {words[kind]}, left out.",
            tuple(names[:_NAMED]),
            detail={"count": len(names)},
        )
        for kind, names in by_kind.items()
    ]


def same_looking(labels: set[str]) -> list[Finding]:
    """Classes whose names differ only by case or surrounding space: two classes to us, probably one to the user."""
    by_look: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        by_look[label.strip().casefold()].append(label)
    return [
        Finding("similar-classes", "warning", f"Classes {' and '.join(map(repr, names))} look like one, kept apart.",
                detail={"classes": names})
        for names in by_look.values() if len(names) > 1
    ]  # fmt: skip


def case_twins(names: list[str]) -> list[Finding]:
    """Files whose paths differ only by case: one file on Windows and on most Macs."""
    by_look: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_look[name.casefold()].append(name)
    twins = [tuple(group) for group in by_look.values() if len(group) > 1]
    if not twins:
        return []
    message = f"{say([' and '.join(group) for group in twins])}: paths that differ only by case."
    return [Finding("case-twins", "warning", message, groups=tuple(twins[:_NAMED]), detail={"count": len(twins)})]
