"""How folders state labels: a folder per class, alone or inside a folder per split (train, validation, test).

In: a Tree (paths only, no disk). Out: the label and split of each image, and what could not be used.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from headstart.data.finding import FEW_NAMES, SCAN_NAMED, Finding, stopping
from headstart.data.folder_scan import Tree, as_text
from headstart.data.split_words import parse_splits
from headstart.source_layout import AUTO, SourceLayout
from headstart.wording import counted, listed, spelled_number

_LOOKALIKES = str.maketrans("аеорсухіјѕԁһɡοαν", "aeopcyxijsdhgoav")
"""Small letters of other scripts → the Latin ones that nobody can tell them from."""


@dataclass(frozen=True)
class LabelledPath:
    """One image's path in the tree, with the label and split that its folders give it."""

    path: str
    label: str
    split: str | None


def find_root(tree: Tree, has_table: Callable[[str], bool]) -> str:
    """Folder that holds the classes or splits, as a prefix ending in `/`; empty for the tree's own root.

    A folder that holds images in only one folder of its own is a wrapper and is entered, unless that folder is a class
    (images directly inside) or a split (train, test, … with folders inside), or a table stands beside it.
    """
    root = ""
    while not has_table(root):
        direct, folders = _children(tree, root)
        if direct or len(folders) != 1:
            break
        (only,) = folders
        inside_direct, inside_folders = _children(tree, f"{root}{only}/")
        if (parse_splits([only]) and inside_folders) or (inside_direct and not has_table(f"{root}{only}/")):
            break
        root += only + "/"
    return root


def _children(tree: Tree, folder: str) -> tuple[int, set[str]]:
    """Number of images directly in a folder, and the names of its folders that hold images."""
    below = [path[len(folder) :] for path in tree.images if path.startswith(folder)]
    return sum("/" not in path for path in below), {path.split("/", 1)[0] for path in below if "/" in path}


def read_class_folders(tree: Tree, root: str, layout: SourceLayout = AUTO) -> tuple[list[LabelledPath], list[Finding]]:
    """Label and split of every image that stands in a class folder, and Findings for those that do not.

    The class is the first folder below the split (or below `root`), or the one at the level that the user names; other
    folders mean nothing, but that `train` and `test` inside every class are splits. If all classes share the same
    subfolders, these may be the classes: a finding that stops a training. Class names are brought to Unicode's composed
    form (NFC), so that a Mac's and a zip's spelling of one name are one class.
    """
    splits = _find_splits(tree, root)
    inner = {} if splits else _find_inner_splits(tree, root)
    findings = _split_findings(tree, root, splits)
    labelled, unlabelled, outside = [], [], []
    for path in tree.images:
        *folders, _ = path[len(root) :].split("/") if path.startswith(root) else [""]
        split = None
        if splits and folders:
            if folders[0] not in splits:
                outside.append(path)
                continue
            split = splits[folders.pop(0)]
        elif inner and len(folders) > 1:
            split = inner[folders.pop(1)]
        level = layout.level(len(folders))
        if not 0 <= level < len(folders):
            unlabelled.append(path)
        else:
            label = unicodedata.normalize("NFC", as_text(folders[level]))
            labelled.append(LabelledPath(path, label, split))
    if inner:
        message = f"The folders {' and '.join(inner)} inside every class are used as splits."
        findings.append(Finding("inner-splits", "note", message, detail={"splits": inner}))
    findings += _unused("no-class-folder", "in no class folder", unlabelled)
    findings += _unused("unused-folder", "beside the folders of the splits", outside)
    if layout.label_from == "auto":
        findings += _two_levels([path[len(root) :] for path in tree.images if path.startswith(root)], splits, inner)
    elif labelled:
        where = {"first": "the outermost folder", "last": "the innermost folder"}
        named = where.get(layout.label_from, f"the folder at level {layout.label_from}")
        findings.append(Finding("label-level", "note", f"The class is {named}, as --label-from says."))
    if layout.label_from == "auto" or layout.level(9) == 0:
        findings += _empty_folders(tree, root, splits, labelled=labelled)
    return labelled, findings


def _two_levels(paths: list[str], splits: dict[str, str], inner: dict[str, str]) -> list[Finding]:
    """What stops a training where the folders inside the classes have the same names in all of them."""
    inside: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))  # class → level → names, caseless
    written: dict[str, str] = {}  # name without capitals → as it is written first
    direct: Counter[str] = Counter()
    deeper: Counter[str] = Counter()
    for path in paths:
        folders = path.split("/")[:-1]
        if splits and folders:
            folders.pop(0)
        if inner and len(folders) > 1:
            folders.pop(1)
        if not folders:
            continue
        (deeper if len(folders) > 1 else direct)[folders[0]] += 1
        for level, name in enumerate(folders[1:]):
            inside[folders[0]][level].add(name.casefold())
            written.setdefault(name.casefold(), name)
    classes = set(direct) | set(deeper)
    # images beside the subfolders say that the class is the folder they are in
    if len(classes) < 2 or deeper.total() <= direct.total():
        return []
    for level in range(max(len(levels) for levels in inside.values())):
        names = {name: inside[name][level] for name in classes if inside[name][level]}
        counts = Counter(name for found in names.values() for name in found)
        shared = sorted(name for name, count in counts.items() if count > 1)
        # what is a class of one split and inside the classes of another is an inner name
        outer = sorted(name for name in classes if name.casefold() not in shared)
        # two names at least: one, such as `images`, only wraps; half of all: a few may be missing in places
        if (
            len(shared) > 1
            and 2 * len(shared) >= len(counts)
            and 2 * sum(bool(found & set(shared)) for found in names.values()) > len(outer)
        ):
            return [_ask_for_level(outer, [written[name] for name in shared])]
    return []


def _ask_for_level(classes: list[str], shared: list[str]) -> Finding:
    outer, inner = (", ".join(as_text(name) for name in names[:4]) + (", …" if len(names) > 4 else "")
                    for names in (classes, shared))  # fmt: skip
    hint = f"--label-from first if the classes are {outer}; --label-from last if they are {inner}."
    if any(word in name.casefold() for name in classes for word in ("train", "test", "valid")):
        # `--label-from last` would mix what somebody has split
        hint = f"If {outer} are splits, rename them train, validation or test. Else {hint}"
    return stopping(
        "two-levels",
        expected="one level of folders that names the class",
        found=f"the same folders ({inner}) inside {outer}",
        hint=hint,
        outer=classes[:SCAN_NAMED],
        inner=shared[:SCAN_NAMED],
    )


def _find_inner_splits(tree: Tree, root: str) -> dict[str, str]:
    """Folder name → split, where every class holds nothing but folders of splits: cat/train, cat/test, dog/train …"""
    direct, classes = _children(tree, root)
    if direct or len(classes) < 2:
        return {}
    words: set[str] = set()
    for name in classes:
        images, folders = _children(tree, f"{root}{name}/")
        if images or not folders or len(parse_splits(sorted(folders))) < len(folders):
            return {}
        words |= folders
    splits = parse_splits(sorted(words))
    return splits if "train" in splits.values() and len(set(splits.values())) > 1 else {}


def _find_splits(tree: Tree, root: str) -> dict[str, str]:
    """Folder name → split; empty when the folders are classes.

    A lone `train` among other folders with images is a class (vehicles have trains); splits are recognised when two of
    them are there, or when nothing else holds images.
    """
    _, folders = _children(tree, root)
    splits = parse_splits(sorted(folders))
    nested = any(_children(tree, f"{root}{folder}/")[1] for folder in splits)
    if not splits or (folders - set(splits) and not (nested and len(set(splits.values())) > 1)):
        return {}
    return splits


def _split_findings(tree: Tree, root: str, splits: dict[str, str]) -> list[Finding]:
    findings = []
    if not splits:
        for word in parse_splits(sorted(_children(tree, root)[1])):
            message = f"The folder {word} is used as a class, since the folders beside it are not splits."
            findings.append(Finding("split-name-as-class", "warning", message, (as_text(root + word),)))
    for split, number in Counter(splits.values()).items():
        if number > 1:
            words = [word for word in splits if splits[word] == split]
            message = f"The folders {' and '.join(words)} are used together as the {split} split."
            names = tuple(as_text(root + word) for word in words)
            findings.append(Finding("merged-splits", "warning", message, names))
    return findings


def _unused(kind: str, where: str, paths: list[str]) -> list[Finding]:
    if not paths:
        return []
    names = tuple(as_text(path) for path in paths)
    message = f"{counted(len(names), 'image')} {where}, not used: {listed(names, FEW_NAMES)}."
    return [Finding(kind, "warning", message, names[:SCAN_NAMED], detail={"count": len(names)})]


def _empty_folders(tree: Tree, root: str, splits: dict[str, str], *, labelled: list[LabelledPath]) -> list[Finding]:
    """Folders where a class or split is expected that hold no image that is used."""
    full = {"/".join(item.path[len(root) :].split("/")[: 2 if splits else 1]) for item in labelled}
    full |= {name.split("/")[0] for name in full}
    by_kind: dict[str, list[str]] = defaultdict(list)
    named = parse_splits({folder[len(root) :].split("/")[0] for folder in tree.folders if folder.startswith(root)})
    for folder in tree.folders:
        steps = folder[len(root) :].split("/") if folder.startswith(root) else []
        is_class = len(steps) == (2 if splits else 1) and (not splits or steps[0] in splits)
        is_split = bool(splits) and len(steps) == 1 and steps[0] in named
        if (is_class or is_split) and "/".join(steps) not in full:
            by_kind["empty-split" if is_split else "empty-class"].append(as_text(folder))
    nouns = {"empty-class": ("class folder", "a usable image"), "empty-split": ("split folder", "a class")}
    findings = []
    for kind, names in by_kind.items():
        noun, lacking = nouns[kind]
        message = f"{counted(len(names), noun)} without {lacking}, left out: {listed(names, FEW_NAMES)}."
        findings.append(Finding(kind, "warning", message, tuple(names[:SCAN_NAMED]), detail={"count": len(names)}))
    return findings


def similar_class_names(labels: set[str]) -> list[Finding]:
    """Classes whose names look alike, by case, width, spaces or invisible letters: kept apart, but likely one class."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        by_key[_seen(label)].append(label)
    return [
        Finding("similar-class-names", "warning",
                f"The class names {listed(list(map(repr, names)), FEW_NAMES)} are nearly the same; each is kept as a "
                "class of its own.",
                detail={"classes": names})
        for names in by_key.values() if len(names) > 1
    ]  # fmt: skip


def _seen(label: str) -> str:
    """A name as it looks: without letters that cannot be seen, such as U+200B, with one space between words.

    Letters of other scripts that look like Latin ones count as these, and a number as its value.
    """
    number = spelled_number(label)
    if number is not None:
        return repr(number)
    visible = "".join(" " if letter.isspace() else letter for letter in unicodedata.normalize("NFKC", label)
                      if unicodedata.category(letter) != "Cf")  # fmt: skip
    return " ".join(visible.split()).casefold().translate(_LOOKALIKES)


def case_collisions(names: list[str]) -> list[Finding]:
    """Files whose paths differ only by case: one file on Windows and on most Macs."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_key[name.casefold()].append(name)
    groups = [tuple(group) for group in by_key.values() if len(group) > 1]
    if not groups:
        return []
    message = f"Paths that differ only by case: {listed([' and '.join(group) for group in groups], FEW_NAMES)}."
    detail = {"count": len(groups)}
    return [Finding("case-collision", "warning", message, groups=tuple(groups[:SCAN_NAMED]), detail=detail)]
