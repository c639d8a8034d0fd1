"""Which files under a folder are images, and what is left out: one walk, every decision reported.

In: a folder. Out: Tree, with the images' paths relative to the folder, sorted. Files are classified by suffix; first
bytes are read only where the suffix is missing or unknown. No image is opened here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.finding import SCAN_NAMED, Finding
from headstart.data.heif import is_heif
from headstart.data.images import SUFFIXES
from headstart.data.output_record import NAME as OUTPUT_RECORD
from headstart.data.output_record import is_output, is_run, real_cache, recorded_files
from headstart.data.source_record import NAME as RECORD
from headstart.data.source_record import read_record
from headstart.data.split_words import parse_splits
from headstart.data.unlabelled import MARK
from headstart.untrusted import Untrusted, check_regular
from headstart.wording import counted

IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
# photographs and drawings in unsupported formats: a warning, since leaving them out loses images
_UNSUPPORTED_SUFFIXES = frozenset(
    (".jxl", ".svg", ".psd", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
     ".hdr", ".exr", ".dcm")
)  # fmt: skip
_ARTEFACTS = frozenset(("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "icon\r"))
_MOST_PEEKS = 1000  # files with an unknown suffix whose first bytes are read; annotations can be a million

STUDIO = ".headstart"
"""Where the studio keeps its journal and removed images, in the folder that it shows."""
OWN = "own-output"
"""Reason of what headstart wrote."""
WAITING = "unlabelled"
"""Reason of images in a folder that is marked as one of images without a class."""

# reason → severity, sentence; in the order they are reported
_REASONS = {
    "unreadable-folder": ("problem", "could not be listed and may hold images"),
    "unsupported-format": ("warning", "left out: unsupported format; save as JPEG or PNG to use them"),
    "wrong-suffix": ("warning", "left out: images by content, but not by suffix; rename to use them"),
    "no-suffix": ("note", "used: no suffix, but images by content"),
    "broken-link": ("warning", "skipped: broken links"),
    "repeated-link": ("note", "skipped: linked folders that were read already or lead back up"),
    "linked": ("note", "read under the name of the links that lead to them"),
    OWN: (
        "note",
        "skipped: written by headstart (explain, predict, train, demo, fetch); to read such a folder, name it itself",
    ),
    WAITING: ("note", "left out: in a folder of images without a class; `headstart advise label` ranks them"),
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
                message = f"{_files_and_folders(names)} {sentence}."
                found.append(Finding(kind, severity, message, tuple(names[:SCAN_NAMED]), detail=detail))
        return found


def _files_and_folders(names: Sequence[str]) -> str:
    folders = sum(name.endswith("/") for name in names)
    parts = ((len(names) - folders, "file"), (folders, "folder"))
    return " and ".join(counted(number, word) for number, word in parts if number)


def read_tree(root: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> Tree:
    """Walk a folder and sort its files into images and others.

    What headstart wrote below it is skipped, unless it is one folder that holds all there is. Links are followed, and
    every real folder is read once: loops and double reading cannot happen. A link keeps its own name, so that a class
    is named by the link and not by the folder that it leads to; a split is never moved by a link from another one.
    """
    inside: frozenset[str] = frozenset()
    while True:
        walk = _Walk(root, suffixes, inside)
        walk.run()
        if walk.images or len(walk.readable) != 1:
            return walk.tree()
        inside |= {*walk.readable}


class _Walk:
    """One walk below a root; the fields are filled as it goes, paths relative to the root, folders ending in `/`."""

    def __init__(self, root: Path, suffixes: frozenset[str], inside: frozenset[str]) -> None:
        self.root, self.suffixes = str(root), suffixes
        self.inside = inside  # folders of headstart that are read all the same
        self.readable: list[str] = []  # those that were skipped and may hold what is to be learned: no run, no cache
        self.images: list[str] = []
        self.folders: list[str] = []
        self.unlabelled: tuple[str, ...] = ()  # folders that are marked as those of images without a class
        self.others: dict[str, list[str]] = defaultdict(list)
        self.links: dict[str, str] = {}  # link to a folder → the real folder in the tree that it leads to
        self.linked_images: dict[str, str] = {}  # link to an image → where it leads
        self._cache = real_cache()

    def run(self) -> None:
        """Read every folder once, those behind links last."""
        for path, entry in self._entries():
            peeks = len(self.others["not-image"]) + len(self.others["wrong-suffix"])
            kind = _kind(entry, self.suffixes, may_peek=peeks < _MOST_PEEKS)
            if kind in ("image", "no-suffix") and path.startswith(self.unlabelled):
                self.others[WAITING].append(path)
                continue
            if kind in ("image", "no-suffix"):
                self.images.append(path)
                if entry.is_symlink():
                    self.linked_images[path] = os.path.realpath(entry.path)
            if kind != "image":
                self.others[kind].append(path)

    def tree(self) -> Tree:
        """What was found, under the names of the links."""
        self._drop_linked_images()
        # A folder beside images of its class is a part of that class, not a store that waits for a name.
        classes = {_folder(path) for path in self.images} - {""}
        links = {link: real for link, real in self.links.items() if _folder(real.rstrip("/")) not in classes}
        names = {real: link for link, real in sorted(links.items(), reverse=True) if _names(link, real)}
        self.others["repeated-link"] = [path for path in self.others["repeated-link"] if path not in names.values()]
        self.others["linked"] += names
        longest_first = sorted(names, key=len, reverse=True)

        def named(paths: Iterable[str]) -> tuple[str, ...]:
            return tuple(sorted(_renamed(path, longest_first, names) for path in paths) if names else sorted(paths))

        images = named(self.images)
        folders = named(self.folders)
        if elsewhere := [*self.others[OWN], *self.others["linked"]]:  # such as `runs`: not one without images
            emptied = {folder for path in elsewhere for folder in (path.rstrip("/"), *_above(path))}
            emptied -= {folder for path in images for folder in _above(path)}
            folders = tuple(path for path in folders if path not in emptied)
        kept = {reason: tuple(sorted(paths)) for reason, paths in self.others.items() if paths}
        kept = {reason: named(paths) if reason not in _AS_THEY_ARE else paths for reason, paths in kept.items()}
        return Tree(images, folders, kept)

    def _entries(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Visible files below the root, linked folders last; also notes folders, and others that are not files."""
        seen: dict[str, str] = {}
        stack, linked = [(self.root, "")], list[tuple[str, str]]()
        while stack or linked:
            is_link = not stack
            folder, prefix = stack.pop() if stack else linked.pop(0)
            real = os.path.realpath(folder)
            if real in seen:
                self.others["repeated-link"].append(prefix)
                if is_link:
                    self.links[prefix] = seen[real]
                continue
            seen[real] = prefix
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError:
                if prefix:
                    self.folders.append(prefix[:-1])
                self.others["unreadable-folder"].append(prefix or "./")
                continue
            names = {entry.name for entry in entries}
            if prefix and prefix not in self.inside and (real == self._cache or is_output(folder, names)):
                self.others[OWN].append(prefix)
                self.readable += [] if real == self._cache or is_run(names) else [prefix]
                continue
            if prefix:
                self._enter(prefix, names)
            written = recorded_files(folder) if OUTPUT_RECORD in names else {}
            for entry in entries:
                path = prefix + entry.name
                if entry.name in (OUTPUT_RECORD, STUDIO, MARK) or (entry.name == RECORD and read_record(Path(folder))):
                    continue  # written by headstart: not a file of the user
                if entry.name in written and _size(entry) == written[entry.name]:
                    self.others[OWN].append(path)
                elif _is_hidden(entry.name):
                    self.others["hidden"].append(path)
                elif _is_folder(entry):
                    (linked if entry.is_symlink() else stack).append((entry.path, path + "/"))
                else:
                    yield path, entry

    def _enter(self, prefix: str, names: set[str]) -> None:
        if MARK in names:
            self.unlabelled += (prefix,)
        if not prefix.startswith(self.unlabelled):
            self.folders.append(prefix[:-1])

    def _drop_linked_images(self) -> None:
        """Leave out folders that only store what links in other folders name.

        Not where the links gather several folders into one, such as `all`: then the real folders are the finer names.
        """
        if not self.linked_images:
            return
        base = os.path.join(os.path.realpath(self.root), "")  # noqa: PTH118  # with a separator at its end
        paths = {path for path in self.images if path not in self.linked_images}
        leads = {link: real[len(base) :].replace(os.sep, "/") for link, real in self.linked_images.items()
                 if real.startswith(base)}  # fmt: skip
        leads = {link: real for link, real in leads.items() if real in paths and _names(link, real)}
        leads = {link: real for link, real in leads.items() if _folder(link) != _folder(real)}
        targets = set(leads.values())
        outside = {_folder(path) for path in self.images if path not in targets}
        stores = {_folder(real) for real in targets} - outside
        namers = {_folder(link) for link, real in leads.items() if _folder(real) in stores}
        if len(namers) < len(stores):
            return
        dropped = {path for path in targets if _folder(path) in stores}
        self.images = [path for path in self.images if path not in dropped]
        self.others["linked"] += dropped


_AS_THEY_ARE = ("repeated-link", "linked")  # reasons whose paths are those of the disk


def _names(link: str, real: str) -> bool:
    """Whether a link in the tree names what it leads to: not across splits, and not from deeper in the tree."""
    apart = not link.startswith(real) and not real.startswith(link)
    crosses = parse_splits(real.rstrip("/").split("/"))
    return bool(real) and apart and not crosses and link.rstrip("/").count("/") <= real.rstrip("/").count("/")


def _renamed(path: str, longest_first: list[str], names: dict[str, str]) -> str:
    for real in longest_first:
        if f"{path}/".startswith(real):
            return names[real] + path[len(real) :] if len(path) >= len(real) else names[real][:-1]
    return path


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _above(path: str) -> Iterator[str]:
    """The folders that hold a path, the innermost first."""
    while path := path.rstrip("/").rpartition("/")[0]:
        yield path


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return -1


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
        return "broken-link" if entry.is_symlink() and not exists(Path(entry.path)) else "special-file"
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
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, Untrusted):
        return False
    simple = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
    return (
        head.startswith(simple)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == bytes(4))  # two letters alone are too weak: the reserved bytes are zero
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#" and len(head) > 8)
        or (head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"))
        or is_heif(head)
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
