"""Uploads: a body streamed to a hidden file, its bytes counted, then opened as an image or unpacked as an archive."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from headstart import files, runtime
from headstart.data.archive import unpack
from headstart.data.folder_scan import as_text, read_tree
from headstart.data.image_set import scan, scan_unlabelled
from headstart.data.images import SUFFIXES, BadImage, OpenedImage, read_bytes
from headstart.errors import DataError, HeadstartError
from headstart.serving.body import Refusal
from headstart.studio.journal import HIDDEN
from headstart.studio.names import class_name
from headstart.studio.project import Project
from headstart.studio.thumbnail_store import ThumbnailStore

IMAGE_BYTES = 64_000_000  # raw scans as TIFF; a phone's largest photograph has 25 MB
ARCHIVE_BYTES = 4_000_000_000
UNPACKED_BYTES = 8_000_000_000
ARCHIVE_FILES = 100_000
SECONDS = 600.0  # until all of a body is there
_SPARE = 500_000_000  # bytes left free on the disk

_LEFT_OUT = {
    "not-image": "not an image",
    "wrong-suffix": "an image whose suffix is that of something else",
    "unsupported-format": "an image of a format that is not read",
}
"""Reason of `read_tree` → what is said of a file in an archive."""

Open = Callable[[bytes], OpenedImage]
"""Decodes the bytes of an image file, as `Learner.open`."""


@dataclass(frozen=True)
class Unpacked:
    """What an archive brought: images of each class, and files that are no usable images."""

    added: int
    refused: tuple[str, ...]


@contextmanager
def incoming(project: Project) -> Iterator[Path]:
    """A path for one upload, in a hidden folder of the project; what is left of it is removed afterwards."""
    path = new_incoming(project)
    try:
        yield path
    except HeadstartError as error:
        if not error.where.endswith(str(path)):
            raise
        # nobody knows the file by that name, nor gave it by an option of a command
        hint = "" if "--" in error.hint else error.hint
        raise type(error)(
            expected=error.expected, found=error.found, where="the file that was sent", hint=hint
        ) from error
    finally:
        files.remove(path)


def new_incoming(project: Project) -> Path:
    """A free path in that folder."""
    return files.make_folder(project.folder / HIDDEN / "incoming") / uuid.uuid4().hex


async def receive(request: Request, path: Path, most: int) -> int:
    """Stream the body of a request into a file; its bytes.

    Args:
        most: bytes; counted while they arrive, whatever the headers say.

    Raises:
        Refusal: 400 empty or cut off; 408 too slow; 413 too large; 507 the disk is too full.
    """
    stated = request.headers.get("content-length", "")
    size = int(stated[:20]) if stated.isdecimal() else 0
    if size > most:
        raise _too_large(most)
    free, needed = runtime.free_bytes(path.parent), size + _SPARE
    if free < needed:
        raise Refusal(507, f"the disk is too full: {free / 1e6:,.0f} MB are free, {needed / 1e6:,.0f} are needed")
    try:
        written = await asyncio.wait_for(_write(request, path, most), SECONDS)
    except TimeoutError:
        raise Refusal(408, f"the file did not arrive within {SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise Refusal(400, "the connection was closed before the file was complete") from None
    if not written:
        raise Refusal(400, "the file is empty (0 bytes)")
    return written


async def _write(request: Request, path: Path, most: int) -> int:
    written = 0
    try:
        with files.os_errors(path), path.open("wb") as file:
            async for chunk in request.stream():
                written += len(chunk)
                if written > most:
                    raise _too_large(most)
                file.write(chunk)
        files.flush(path)  # before it gets its name: a power cut leaves no empty image
    except BaseException:
        files.remove(path)
        raise
    return written


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"a file may have {most:,} bytes")


def check_image(path: Path, open_: Open, thumbnails: ThumbnailStore) -> str:
    """Decode an image once, for the learner and for its thumbnail; the suffix that belongs to its content.

    Raises:
        BadImage: it cannot be used.
    """
    opened = open_(read_bytes(path))
    thumbnails.put(path, opened.rgb)
    return SUFFIXES[opened.format][0]


def take_archive(project: Project, archive: Path, check: Callable[[Path], str], *, label: str, batch: str) -> Unpacked:
    """Unpack a zip or tar and add its images: to one class, or to the classes that its folders name.

    Args:
        check: gives the suffix of an image; see `check_image`. label: of all images; empty: by folders.
        batch: so that all are undone together.

    Raises:
        DataError: it cannot be unpacked, holds no image, or a folder's name cannot be a class.
    """
    into = archive.with_name(f"{archive.name}-files")
    most = min(UNPACKED_BYTES, max(runtime.free_bytes(archive.parent) - _SPARE, 1))
    try:
        folder = unpack(archive, into, max_bytes=most, max_files=ARCHIVE_FILES)
        found = _labelled(folder, label)
        refused, added = _left_out(folder, {path for path, _ in found}), 0
        made = set(project.look().classes)
        for path, name in found:
            try:
                suffix = check(path)
            except BadImage as bad:
                refused.append(f"{path.name}: {bad.reason}")
                continue
            if name not in made:
                made.add(project.make_class(name, batch=batch))
            project.add(path, name, name=path.name, suffix=suffix, batch=batch)
            added += 1
        return Unpacked(added, tuple(refused[:50]))
    finally:
        files.remove(into)


def _left_out(folder: Path, taken: Collection[Path]) -> list[str]:
    """The files of an unpacked archive that are not used as images, each with the reason; none is left out unsaid."""
    others = read_tree(folder).others
    found = sorted((folder / name, why) for reason, why in _LEFT_OUT.items() for name in others.get(reason, ()))
    return [f"{as_text(path.name)}: {why}" for path, why in found if path not in taken]


def _labelled(folder: Path, label: str) -> list[tuple[Path, str]]:
    if label:
        return [(path, label) for path in scan_unlabelled([folder])]
    samples = scan(folder, least_classes=1, stop=False).samples
    if any(sample.label is None for sample in samples):
        raise DataError(
            expected="a folder for each class in the archive",
            found="images without one",
            where="archive",
            hint="Drop it on a class instead: all its images then go there.",
        )
    return [(sample.path, class_name(sample.label)) for sample in samples]
