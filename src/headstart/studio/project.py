"""Project: a folder of classes as the studio shows it, and the changes that can be made to it.

Images are known by an opaque number made of their place, classes by their names; a name from outside is looked up and
never becomes a path. Whatever changes the folder from elsewhere is seen at the next look.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from headstart import files, runtime
from headstart.data.bursts import HOLD, find_bursts
from headstart.data.folder_scan import IMAGE_SUFFIXES, as_text
from headstart.data.image_set import Sample, scan, scan_unlabelled
from headstart.data.output_record import is_run, recorded_files
from headstart.data.unlabelled import UNLABELLED, is_unlabelled, mark_unlabelled
from headstart.errors import DataError
from headstart.studio.journal import Change, Journal, Move, said_together
from headstart.studio.names import class_name, file_stem
from headstart.wording import counted

RUNS = "runs"


@dataclass(frozen=True)
class Picture:
    """One image.

    Args:
        id: opaque. place: posix path relative to the folder, as the system has it. label: None: in no class folder.
        burst: of the recording or run of frames that it belongs to, or None.
        version: changes when the file does.
    """

    id: str
    place: str
    sample: Sample
    burst: str | None
    version: str

    @property
    def label(self) -> str | None:
        """Name of its class."""
        return self.sample.label


@dataclass(frozen=True)
class Snapshot:
    """What is in the folder at one moment.

    Args:
        classes: sorted names, those without images too. folders: class → posix path where new images of it go.
        editable: empty, or why nothing can be changed here.
    """

    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]
    folders: dict[str, str]
    base: str
    editable: str = ""

    @cached_property
    def by_id(self) -> dict[str, Picture]:
        """Image by its opaque number."""
        return {picture.id: picture for picture in self.pictures}

    @cached_property
    def unlabelled(self) -> tuple[Picture, ...]:
        """Images without a class."""
        return tuple(picture for picture in self.pictures if picture.label is None)

    @cached_property
    def class_folders(self) -> dict[str, tuple[str, ...]]:
        """Class → all folders of it: one in each split, first the one where new images go."""
        wrapper = _parent(self.base) if any(one.sample.split for one in self.pictures) else self.base
        found = {name: {folder: None} for name, folder in self.folders.items()}
        for picture in self.pictures:
            if picture.label in found:
                found[picture.label][_class_folder(picture.place, picture.label, wrapper)] = None
        return {name: tuple(folders) for name, folders in found.items()}

    def counts(self) -> dict[str, int]:
        """Images of each class, those without one too."""
        found = Counter(picture.label for picture in self.pictures)
        return {name: found[name] for name in self.classes}


class Project:
    """The folder, its classes and their changes; safe to use from several threads.

    Args:
        folder: is made when it is missing.

    Raises:
        DataError: it is a file, or its journal cannot be read. RunError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise DataError(expected="a folder", found="a file", where=folder, hint="headstart studio FOLDER")
        self.folder = files.make_folder(folder).resolve()
        self._lock = threading.RLock()
        self._journal = Journal(self.folder)
        self._seen: tuple[object, Snapshot] | None = None
        self._edits = 0  # of this process: two within one tick of the disk's clock leave it the same times

    def look(self) -> Snapshot:
        """What is in the folder now; read again only where a folder has changed."""
        with self._lock:
            signature = self._edits, _signature(self.folder)
            if self._seen is None or self._seen[0] != signature:
                self._seen = (signature, _read(self.folder))
            return self._seen[1]

    @property
    def revision(self) -> str:
        """A text that changes whenever the folder does."""
        return hashlib.sha256(repr((self._edits, _signature(self.folder))).encode()).hexdigest()[:16]

    @property
    def undo_text(self) -> str:
        """What `undo` would undo; empty: nothing."""
        with self._lock:
            self._journal.refresh()
            return said_together(self._journal.undoable)

    def picture(self, id: object) -> Picture:
        """An image by its number.

        Raises:
            DataError: there is none of that number.
        """
        found = self.look().by_id.get(id) if isinstance(id, str) else None
        if found is None:
            raise DataError(expected="an image of the folder", found="none", where="id", hint="Reload the page.")
        return found

    def runs(self) -> tuple[Path, ...]:
        """Folders of the finished trainings, oldest first."""
        found = []
        for parent in (self.folder / RUNS, self.folder):
            if parent.is_dir():
                found += [path for path in parent.iterdir() if path.is_dir() and is_run(os.listdir(path))]  # noqa: PTH208
        return tuple(sorted(found, key=lambda path: (path.stat().st_mtime, path.name)))

    def make_class(self, name: object, *, batch: str = "") -> str:
        """Make an empty class; changes of one batch are undone together.

        Raises:
            DataError: there is one, or no folder can have that name.
        """
        with self._changing():
            wanted, snapshot = class_name(name), self._editable()
            self._check_new(wanted, snapshot)
            folder = _join(snapshot.base, wanted)
            empty = self._journal.trash("empty")
            files.make_folder(self.folder / empty)
            self._record(f"Made the class {wanted}", [(empty, folder)], [(folder, empty)], batch=batch)
            return wanted

    def rename_class(self, old: object, new: object) -> str:
        """Give a class another name; a name that another class has is a merge, which is asked for as such.

        Raises:
            DataError: there is no such class, or the new name is taken or impossible.
        """
        with self._changing():
            wanted, snapshot = class_name(new), self._editable()
            name = self._known(old, snapshot)
            if wanted == name:
                return name
            if wanted.casefold() != name.casefold():
                self._check_new(wanted, snapshot)
            moves = [(folder, _join(_parent(folder), wanted)) for folder in snapshot.class_folders[name]]
            self._record(f"Renamed {name} to {wanted}", moves, _reversed(moves))
            return wanted

    def merge_classes(self, old: object, into: object) -> str:
        """Move all images of one class into another.

        Raises:
            DataError: there is no such class, or both are the same.
        """
        with self._changing():
            snapshot = self._editable()
            source, target = self._known(old, snapshot), self._known(into, snapshot)
            if source == target:
                raise DataError(expected="two classes", found=repr(source), where="merge")
            moved = [picture for picture in snapshot.pictures if picture.label == source]
            moves = self._moves(moved, snapshot.folders[target])
            emptied = [(folder, self._journal.trash(folder)) for folder in snapshot.class_folders[source]]
            both = [*moves, *emptied]
            self._record(f"Merged {source} into {target}", both, _reversed(both))
            return target

    def delete_class(self, name: object) -> None:
        """Remove a class with its images; undo brings them back.

        Raises:
            DataError: there is no such class.
        """
        with self._changing():
            snapshot = self._editable()
            known = self._known(name, snapshot)
            moves = [(folder, self._journal.trash(folder)) for folder in snapshot.class_folders[known]]
            images = counted(snapshot.counts()[known], "image")
            self._record(f"Deleted the class {known} ({images})", moves, _reversed(moves))

    def delete(self, ids: Sequence[object]) -> int:
        """Remove images; undo brings them back.

        Raises:
            DataError: one of them is not there.
        """
        with self._changing():
            self._editable()
            chosen = [self.picture(id) for id in dict.fromkeys(ids)]
            moves = [(one.place, self._journal.trash(one.place)) for one in chosen]
            self._record(f"Deleted {counted(len(chosen), 'image')}", moves, _reversed(moves))
            return len(chosen)

    def relabel(self, ids: Sequence[object], label: object) -> int:
        """Move images into another class, or to those without one.

        Raises:
            DataError: one of them, or the class, is not there.
        """
        with self._changing():
            self._editable()
            folder = self._folder_of(label)
            wanted = None if folder == UNLABELLED else label
            chosen = [one for one in (self.picture(id) for id in dict.fromkeys(ids)) if one.label != wanted]
            moves = self._moves(chosen, folder)
            self._record(f"Moved {counted(len(chosen), 'image')} to {label}", moves, _reversed(moves))
            return len(chosen)

    def add(
        self, incoming: Path, label: object, *, name: str, suffix: str, batch: str = "", burst: str = ""
    ) -> str:  # six: the file, where it goes, and the three things its name is made of
        """Take a whole file from below `.headstart` into a class, or to the images without one; its number.

        Args:
            name: as the browser has it; only harmless characters are kept. suffix: with its dot, by the content.
            batch: files of one batch are undone together. burst: name of a recording, as `HOLD`.

        Raises:
            DataError: there is no such class, or the recording has no name of ours.
        """
        if burst and not HOLD.fullmatch(burst):
            raise DataError(expected="a recording of this page", found=repr(burst)[:60], where="burst")
        with self._changing():
            folder = self._folder_of(label)
            free = _free(self.folder / folder, burst or file_stem(name), suffix, counting=bool(burst))
            place = _join(folder, free)
            moves = [(incoming.relative_to(self.folder).as_posix(), place)]
            self._record(f"Added {free} to {label}", moves, [(place, self._journal.trash(place))], batch=batch)
            return _id(place)

    def note(self, text: str) -> int:
        """Write down what moves no file, so that `undo` takes it back in its turn; the number of the change."""
        with self._changing():
            self._edits += 1
            return self._journal.record(text, (), ()).number

    def stands(self, number: int) -> bool:
        """Whether a change was not undone."""
        with self._lock:
            return self._journal.stands(number)

    def undo(self) -> str:
        """Undo the last change; what was undone, empty: there was nothing."""
        with self._changing():
            self._edits += 1
            change = self._journal.undo()
            return change.text if change else ""

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """A block in which neither another thread nor another studio on this folder changes it."""
        with self._lock, self._journal.alone():
            yield

    def _record(self, text: str, moves: Sequence[Move], back: Sequence[Move], *, batch: str = "") -> Change | None:
        self._edits += 1
        return self._journal.record(text, moves, back, batch=batch) if moves else None

    def _folder_of(self, label: object) -> str:
        """Where new images of a class, or of none, go; while its folder is there, no tree is read for each image."""
        seen = self._seen[1] if self._seen else None
        if seen is not None and not seen.editable and isinstance(label, str) and label in seen.folders:
            folder = seen.folders[label]
            if (self.folder / folder).is_dir():
                return folder
        snapshot = self._editable()
        if label == UNLABELLED and label not in snapshot.folders:
            mark_unlabelled(self.folder / UNLABELLED)
            return UNLABELLED
        return snapshot.folders[self._known(label, snapshot)]

    def _editable(self) -> Snapshot:
        snapshot = self.look()
        if snapshot.editable:
            raise DataError(expected="a folder per class", found=snapshot.editable, where=self.folder)
        return snapshot

    def _known(self, name: object, snapshot: Snapshot) -> str:
        if not isinstance(name, str) or name not in snapshot.folders:
            raise DataError(expected="a class of the folder", found=repr(name)[:60], where="class")
        return name

    def _check_new(self, wanted: str, snapshot: Snapshot) -> None:
        taken = {name.casefold() for name in snapshot.classes}
        if wanted.casefold() in taken or os.path.lexists(self.folder / _join(snapshot.base, wanted)):
            raise DataError(expected="a name that is free", found=repr(wanted), where="class name")

    def _moves(self, pictures: Iterable[Picture], folder: str) -> list[Move]:
        taken: set[str] = set()
        moves = []
        for picture in pictures:
            stem, dot, suffix = picture.place.rpartition("/")[2].rpartition(".")
            stem, suffix = (stem, dot + suffix) if stem else (suffix, "")
            free = _free(self.folder / folder, stem, suffix, taken=taken)
            taken.add(free)
            moves.append((picture.place, _join(folder, free)))
        return moves


def _read(folder: Path) -> Snapshot:
    try:
        found = scan(folder, unpack_into=runtime.cache_folder() / "archives", least_classes=1, stop=False)
    except DataError:  # no image in a class
        return _snapshot(folder, _without_class(folder, ""), base="", editable="")
    details = {finding.kind: finding for finding in found.findings}
    table = details["table"].message if "table" in details else ""
    base = str(details["wrapper-folder"].detail["folder"]) if "wrapper-folder" in details else ""
    samples = found.samples if table else {s.path: s for s in (*_without_class(folder, base), *found.samples)}.values()
    return _snapshot(folder, sorted(samples, key=lambda sample: sample.name), base=base, editable=table)


def _without_class(folder: Path, base: str) -> list[Sample]:
    """Images of the folder for those without a class, and images that lie beside the folders of the classes."""
    own = recorded_files(str(folder / base))
    beside = [path for path in (folder / base).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    paths = [path for path in beside if path.name not in own and not path.name.startswith(".")]
    if is_unlabelled(folder / UNLABELLED):
        with contextlib.suppress(DataError):  # there is none
            paths += scan_unlabelled([folder / UNLABELLED])
    return [Sample(path, as_text(path.relative_to(folder).as_posix())) for path in paths]


def _snapshot(folder: Path, samples: Sequence[Sample], *, base: str, editable: str) -> Snapshot:
    bursts = find_bursts([s.name for s in samples], [s.label or "" for s in samples], [s.split for s in samples])
    pictures, folders = [], dict[str, str]()
    for sample, burst in zip(samples, bursts, strict=True):
        place = sample.path.relative_to(folder).as_posix()
        status = sample.path.stat() if sample.path.exists() else None
        version = f"{status.st_mtime_ns:x}-{status.st_ctime_ns:x}-{status.st_size:x}" if status else ""
        pictures.append(Picture(_id(place), place, sample, burst=burst, version=version))
        if sample.label is not None and sample.split in (None, "train"):
            folders.setdefault(sample.label, _class_folder(place, sample.label, base))
    if any(sample.split for sample in samples):
        words = {one.place[len(base) :].strip("/").partition("/")[0] for one in pictures if one.sample.split == "train"}
        base = _join(base, min(words, default="train"))
    for path in sorted((folder / base).iterdir()) if (folder / base).is_dir() else ():
        name = unicodedata.normalize("NFC", path.name)
        if name not in folders and path.is_dir() and _is_class(path):
            folders[name] = _join(base, path.name)
    return Snapshot(tuple(pictures), tuple(sorted(folders)), folders, base=base, editable=editable)


def _is_class(path: Path) -> bool:
    """Whether a folder without images can be a class that was just made."""
    try:
        class_name(path.name)
    except DataError:
        return False
    return not any(path.iterdir())


def _class_folder(place: str, label: str, base: str) -> str:
    """The part of an image's path that ends in the folder of its class."""
    steps = place.split("/")
    first = len(base.split("/")) if base else 0
    for at in range(first, len(steps) - 1):
        if unicodedata.normalize("NFC", steps[at]) == label:
            return "/".join(steps[: at + 1])
    return "/".join(steps[:-1])


def _signature(folder: Path) -> tuple[object, ...]:
    """Names and times of all visible folders: they change whenever a file comes, goes or gets another name."""
    found: list[tuple[str, int]] = []
    stack = [str(folder)]
    while stack:
        path = stack.pop()
        try:
            found.append((path, os.stat(path).st_mtime_ns))  # noqa: PTH116
            with os.scandir(path) as entries:
                inside = [entry.path for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
        except OSError:
            continue
        stack += [one for one in inside if not one.endswith(f"/{RUNS}")]
    return tuple(sorted(found))


def _free(folder: Path, stem: str, suffix: str, *, counting: bool = False, taken: Set[str] = frozenset()) -> str:
    """A file name that no file there has: the stem, or with a number; `counting`: always with a number, of a frame."""
    number = 1
    while True:
        counted_name = f"{stem}-{number:04}{suffix}" if counting else f"{stem}-{number}{suffix}"
        name = counted_name if counting or number > 1 else f"{stem}{suffix}"
        if name not in taken and not os.path.lexists(folder / name):
            return name
        number += 1


def _id(place: str) -> str:
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:20]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _reversed(moves: Sequence[Move]) -> list[Move]:
    return [(new, old) for old, new in reversed(moves)]
