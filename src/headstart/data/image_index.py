"""What is known about each image file, remembered between runs: content hash, decoded size, pixels' hash, thumbnail.

    path, size, time ──▶ content (SHA-256 of the bytes) ──▶ ImageFacts (what decoding showed)

Bytes are hashed again only when size or time of the file differ; an image is decoded again only when its content, the
rules or the reader are new.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from headstart.data.finding import Finding
from headstart.data.image_index_store import FactStore, FileKey
from headstart.data.image_set import Sample
from headstart.data.images import BadImage, ImageRules, open_image, read_bytes, suffix_notes

SIGNATURE_SIDE = 32  # pixels: enough for the DCT of a perceptual hash and for a first look; 1 kB per image
_READER = "2"  # raise when images.py changes a pixel, or when the signature changes
_BATCH = 64  # results between two commits: the most that an interruption can lose
_READ_AHEAD = 4  # files in flight per worker, so that memory stays flat

Progress = Callable[[int, int], None]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImageFacts:
    """What was found in one image file; for an unreadable one `error` says why and the decoded fields are empty.

    Args:
        content: SHA-256 of the file's bytes, hex; empty when they could not be read.
        pixels: hash of the upright 8-bit RGB pixels and their size: equal for exact duplicates, whatever the file.
        width: pixels from left to right, after the EXIF turn.
        height: pixels from top to bottom, after the EXIF turn.
        format: of the file, as Pillow names it.
        mode: of the file, as Pillow names it.
        notes: what was done to it while reading (EXIF turn, alpha, 16 bit, first frame), and a wrong suffix.
        signature: SIGNATURE_SIDE² bytes: the grey picture squeezed to a square, row by row.
        error: the reason why it cannot be used, or None.
    """

    content: str
    pixels: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    notes: tuple[str, ...] = ()
    signature: bytes = b""
    error: str | None = None


class ContentIndex:
    """Remembers in one SQLite file what was found in image files; may be used by several processes at once."""

    def __init__(self, folder: Path) -> None:
        self._store = FactStore(folder)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What happened to the memory itself: built anew after damage, or not writable."""
        return self._store.findings

    def close(self) -> None:
        """Close the file; what was found is already committed."""
        self._store.close()

    def recall(self, content: str, kind: str) -> bytes | None:
        """What was kept for this content under this kind; the kind names the algorithm and its version."""
        return self._store.facts(content, kind)

    def keep(self, content: str, kind: str, packed: bytes) -> None:
        """Remember something that was computed from this content."""
        self._store.remember([], [(content, kind, packed)])

    def contents(
        self, paths: Sequence[Path], *, verify: bool = False, workers: int = 2, progress: Progress | None = None
    ) -> tuple[str | BadImage, ...]:
        """SHA-256 of each file's bytes, in order; a file that cannot be read gives its BadImage.

        Args:
            paths: files.
            verify: hash every file, whatever is remembered.
            workers: threads.
            progress: called with (files done, files in all).
        """
        keys = [_file_key(path) for path in paths]
        known = _known(keys, verify, self._store)
        found: list[str | BadImage] = [content or "" for content in known]
        todo = [i for i, content in enumerate(known) if content is None]
        done = len(paths) - len(todo)
        with _Kept(self._store) as kept:
            for i, content in zip(todo, _pooled(lambda i: _content(paths[i]), todo, workers), strict=True):
                found[i] = content
                if isinstance(content, str):
                    kept.add(keys[i], content)
                done = _told(progress, done + 1, len(paths))
        return tuple(found)

    def facts(
        self,
        samples: Sequence[Sample],
        rules: ImageRules | None = None,
        *,
        verify: bool = False,
        workers: int = 2,
        progress: Progress | None = None,
    ) -> tuple[ImageFacts, ...]:
        """What is in each sample's file, in the samples' order; only what is not known yet is decoded.

        An interruption (any exception, also Ctrl-C) keeps what was done so far.

        Args:
            samples: their paths are read, nothing else of them.
            rules: background colour and pixel bound.
            verify: hash every file's bytes, whatever is remembered.
            workers: threads; the decoders release Python's lock.
            progress: called with (images done, images in all).
        """
        look = _Look(self._store, rules or ImageRules())
        paths = [sample.path for sample in samples]
        keys = [_file_key(path) for path in paths]
        known = [look.remembered(content) for content in _known(keys, verify, self._store)]
        found = [facts or ImageFacts("") for facts in known]
        todo = [i for i, facts in enumerate(known) if facts is None]
        done = _told(progress, len(paths) - len(todo), len(paths))
        with _Kept(self._store) as kept:
            for i, (facts, is_new) in zip(todo, _pooled(lambda i: look.at(paths[i]), todo, workers), strict=True):
                found[i] = facts
                kept.add(keys[i], facts.content, (look.reader, _pack(facts)) if is_new else None)
                done = _told(progress, done + 1, len(paths))
        return tuple(_with_name_notes(facts, path) for facts, path in zip(found, paths, strict=True))


class _Look:
    """Looks into files under one set of rules; knows what was remembered under them."""

    def __init__(self, store: FactStore, rules: ImageRules) -> None:
        self._store = store
        self._rules = rules
        colour = ",".join(map(str, rules.background))
        self.reader = f"{_READER} pillow {PIL.__version__} on {colour} up to {rules.max_pixels}"

    def remembered(self, content: str | None) -> ImageFacts | None:
        packed = self._store.facts(content, self.reader) if content else None
        return None if content is None or packed is None else _unpack(content, packed)

    def at(self, path: Path) -> tuple[ImageFacts, bool]:
        """Facts of one file, and whether they are new and will be the same next time."""
        try:
            data = read_bytes(path)
        except BadImage as bad:
            return ImageFacts("", error=bad.reason), False
        content = hashlib.sha256(data).hexdigest()
        known = self.remembered(content)  # a copy of a file that was seen under another path
        if known is not None:
            return known, False
        try:
            return _facts(content, data, self._rules), True
        except BadImage as bad:
            lasting = not isinstance(bad.__cause__, MemoryError)
            return ImageFacts(content, error=bad.reason), lasting


class _Kept:
    """Collects results and gives them to the store in short transactions; the rest on leaving, in whatever way."""

    def __init__(self, store: FactStore) -> None:
        self._store = store
        self._files: list[tuple[FileKey, str]] = []
        self._facts: list[tuple[str, str, bytes]] = []

    def add(self, key: FileKey | None, content: str, facts: tuple[str, bytes] | None = None) -> None:
        if key is not None and content:
            self._files.append((key, content))
        if facts is not None:
            self._facts.append((content, *facts))
        if len(self._files) >= _BATCH:
            self._give()

    def _give(self) -> None:
        files, self._files, facts, self._facts = self._files, [], self._facts, []
        if files or facts:
            self._store.remember(files, facts)

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *error: object) -> None:
        self._give()


def signature_of(rgb: NDArray[np.uint8]) -> bytes:
    """The grey picture squeezed to SIGNATURE_SIDE × SIGNATURE_SIDE, row by row, one byte per pixel.

    Args:
        rgb: H×W×3 uint8.
    """
    side = (SIGNATURE_SIDE, SIGNATURE_SIDE)
    small = Image.fromarray(rgb).resize(side, Image.Resampling.BILINEAR, reducing_gap=4.0)  # plain averages first
    return small.convert("L").tobytes()


def _facts(content: str, data: bytes, rules: ImageRules) -> ImageFacts:
    image = open_image(data, rules)
    return ImageFacts(
        content=content,
        pixels=_pixels_hash(image.rgb),
        width=image.width,
        height=image.height,
        format=image.format,
        mode=image.mode,
        notes=image.notes,
        signature=signature_of(image.rgb),
    )


def _pixels_hash(rgb: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(b"%d %d " % rgb.shape[:2])
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def _content(path: Path) -> str | BadImage:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except BadImage as bad:
        return bad


def _known(keys: Sequence[FileKey | None], verify: bool, store: FactStore) -> list[str | None]:
    return [None] * len(keys) if verify else store.contents(keys)


def _file_key(path: Path) -> FileKey | None:
    try:
        status = path.stat()  # before the bytes are read: a file that changes meanwhile will not match next time
    except (OSError, ValueError):
        return None
    return FileKey(os.fsencode(path.absolute()), status.st_size, status.st_mtime_ns)


def _with_name_notes(facts: ImageFacts, path: Path) -> ImageFacts:
    """Facts belong to content; what depends on the file's name is added for each name."""
    extra = suffix_notes(path, facts.format) if facts.error is None else ()
    return replace(facts, notes=facts.notes + extra) if extra else facts


def _pack(facts: ImageFacts) -> bytes:
    plain = [facts.pixels, facts.width, facts.height, facts.format, facts.mode, facts.notes, facts.error]
    return json.dumps(plain).encode() + b"\n" + facts.signature


def _unpack(content: str, packed: bytes) -> ImageFacts:
    plain, _, signature = packed.partition(b"\n")
    pixels, width, height, format_, mode, notes, error = json.loads(plain)
    return ImageFacts(content, pixels, width, height, format_, mode, tuple(notes), signature, error)


def _pooled(work: Callable[[int], _Result], todo: Sequence[int], workers: int) -> Iterator[_Result]:
    """Results in the order of todo; only a few are ahead of the one that is taken."""
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="look")
    try:
        for i in todo:
            waiting.append(pool.submit(work, i))
            if len(waiting) >= _READ_AHEAD * max(1, workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _told(progress: Progress | None, done: int, total: int) -> int:
    if progress is not None:
        progress(done, total)
    return done
