"""Which files under a folder are images, and what is left out: one walk, every decision reported.

In: a folder. Out: Tree, with the images' paths relative to the folder, sorted. Files are classified by suffix; first
bytes are read only where the suffix is missing or unknown. No image is opened here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headstart.data.finding import SCAN_NAMED, Finding
from headstart.data.images import SUFFIXES
from headstart.data.source_record import NAME as RECORD
from headstart.data.source_record import read_record
from headstart.wording import counted

IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
# photographs and drawings in unsupported formats: a warning, since leaving them out loses images
_UNSUPPORTED_SUFFIXES = frozenset(
    (".heic", ".heif", ".jxl", ".svg", ".psd", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
     ".hdr", ".exr", ".dcm")
)  # fmt: skip
_ARTEFACTS = frozenset(("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "icon\r"))
_MOST_PEEKS = 1000  # files with an unknown suffix whose first bytes are read; annotations can be a million

# reason → severity, sentence; in the order they are reported
_REASONS = {
    "unreadable-folder": ("problem", "could not be listed and may hold images"),
    "unsupported-format": ("warning", "left out: unsupported format; save as JPEG or PNG to use them"),
    "wrong-suffix": ("warning", "left out: images by content, but not by suffix; rename to use them"),
    "no-suffix": ("note", "used: no suffix, but images by content"),
    "broken-link": ("warning", "skipped: broken links"),
    "repeated-link": ("note", "skipped: linked folders that were read already or lead back up"),
    "special-file": ("note", "skipped: neither files nor folders"),
    "hidden": ("note", "skipped: hidden files or system files"),
    "not-image": ("note", "skipped: not images"),
}
_KINDS = {
    "unreadable-folder": "unreadable-folder",
    "unsupported-format": "unsupported-format",
    "wrong-suffix": "suffix",
    "no-suffix": "suffix",
}


@dataclass(frozen=True)
class Tree:
    """What a folder holds; every path is posix, relative to the folder, and sorted.

    Args:
        images: files used as images, by suffix, or by first bytes where there is no suffix.
        folders: visible folders, empty ones too.
        others: reason → files or folders (these end in `/`) it applies to; only `no-suffix` ones are in `images` too.
    """

    images: tuple[str, ...]
    folders: tuple[str, ...]
    others: dict[str, tuple[str, ...]]

    def findings(self, used: Iterable[str] = ()) -> list[Finding]:
        """One Finding for each reason, with counts and first names; `used` files (a table) do not count as skipped."""
        taken = set(used)
        found = []
        for reason, (severity, sentence) in _REASONS.items():
            names = [as_text(path) for path in self.others.get(reason, ()) if path not in taken]
            if names:
                detail = {"reason": reason, "count": len(names)}
                kind = _KINDS.get(reason, "skipped")
                message = f"{counted(len(names), 'file')} {sentence}."
                found.append(Finding(kind, severity, message, tuple(names[:SCAN_NAMED]), detail=detail))
        return found


def read_tree(root: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> Tree:
    """Walk a folder and sort its files into images and others.

    Links to files are followed. Links to folders are followed after all real folders, and every real folder is read
    once: loops and double reading cannot happen, and a class is named by its real folder, not by a link to it.
    """
    images: list[str] = []
    folders: list[str] = []
    others: dict[str, list[str]] = defaultdict(list)
    for path, entry in _entries(root, folders, others):
        peeks = len(others["not-image"]) + len(others["wrong-suffix"])
        kind = _kind(entry, suffixes, may_peek=peeks < _MOST_PEEKS)
        if kind in ("image", "no-suffix"):
            images.append(path)
        if kind != "image":
            others[kind].append(path)
    kept = {reason: tuple(sorted(paths)) for reason, paths in others.items() if paths}
    return Tree(tuple(sorted(images)), tuple(sorted(folders)), kept)


def _entries(root: Path, folders: list[str], others: dict[str, list[str]]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Visible files below the root, linked folders last; also fills `folders`, and `others` with what is not a file."""
    seen: set[str] = set()
    stack = [(str(root), "")]
    linked: list[tuple[str, str]] = []
    while stack or linked:
        folder, prefix = stack.pop() if stack else linked.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            others["repeated-link"].append(prefix)
            continue
        seen.add(real)
        if prefix:
            folders.append(prefix[:-1])
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            others["unreadable-folder"].append(prefix or "./")
            continue
        for entry in entries:
            path = prefix + entry.name
            if entry.name == RECORD and read_record(Path(folder)):
                continue  # written by `headstart fetch`: not a file of the user
            if _is_hidden(entry.name):
                others["hidden"].append(path)
            elif _is_folder(entry):
                (linked if entry.is_symlink() else stack).append((entry.path, path + "/"))
            else:
                yield path, entry


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _ARTEFACTS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _kind(entry: os.DirEntry[str], suffixes: frozenset[str], *, may_peek: bool) -> str:
    try:
        is_file = entry.is_file()
    except OSError:
        is_file = False
    if not is_file:  # a pipe must never be opened: reading it waits for ever
        return "broken-link" if entry.is_symlink() else "special-file"
    suffix = Path(entry.name).suffix.lower()
    if suffix in suffixes:
        return "image"
    if suffix in _UNSUPPORTED_SUFFIXES:
        return "unsupported-format"
    if (suffix and not may_peek) or not is_image(Path(entry.path)):
        return "not-image"
    return "wrong-suffix" if suffix else "no-suffix"


def is_image(path: Path) -> bool:
    """True when a file's first bytes are those of a known image format; False for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    simple = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
    return (
        head.startswith(simple)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == bytes(4))  # two letters alone are too weak: the reserved bytes are zero
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#" and len(head) > 8)
        or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1"))
    )


def exists(path: Path) -> bool:
    """Whether a path exists; False for one that the system refuses, such as a name that is too long."""
    try:
        return path.exists()
    except OSError:
        return False


def as_text(path: str) -> str:
    """A file's name that can be printed, stored and sent; bytes that are not UTF-8 are escaped, as `\\udce9`."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def numbered_names(names: Iterable[str], most: int = 3) -> str:
    """`3 (a.txt, b.txt, c.txt)`: how many there are, and the first few."""
    listed = list(names)
    more = ", …" if len(listed) > most else ""
    return f"{len(listed)} ({', '.join(listed[:most])}{more})"
