"""An index of image facts, kept between runs: content hash, decoded size, hash of the pixels, small grey picture.

    path, size, times ─▶ content (SHA-256 of the bytes) ──▶ ImageFacts (what decoding showed)

Bytes are hashed again only when size or time of the file differ; an image is decoded again only when its content, the
rules or the decoder are new.
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

from headstart.data.fact_store import FactStore, FileKey
from headstart.data.finding import Finding
from headstart.data.heif import reason_of_missing
from headstart.data.image_set import Sample
from headstart.data.images import BadImage, ImageRules, OpenedImage, open_image, read_bytes, suffix_notes
from headstart.progress import OnProgress
from headstart.runtime import collection_paused
from headstart.untrusted import parse_json

SIGNATURE_SIDE = 32  # pixels: enough for the DCT of a perceptual hash and for fitting a crop; 1 kB per image
_DECODER = "12"  # raise when images.py changes a pixel, a note or what it refuses, or when the signature changes
_BATCH = 64  # results between two commits: the most that an interruption can lose
_UNPACKED = 4096  # facts that are read from the store at once: 5 MB
_READ_AHEAD = 4  # files in flight per worker, so that memory stays flat

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImageFacts:
    """What was found in one image file; for an unreadable one `error` is the reason and the decoded fields are empty.

    Args:
        content: SHA-256 of the file's bytes, hex; empty when they could not be read.
        pixels: hash of the upright 8-bit RGB pixels and their size: equal for exact duplicates, whatever the file.
        width: pixels from left to right, after the EXIF rotation.
        height: pixels from top to bottom, after the EXIF rotation.
        format: of the file, as Pillow names it.
        mode: of the file, as Pillow names it.
        notes: what was done to it while reading (EXIF rotation, alpha, 16 bit, first frame), and a wrong suffix.
        signature: SIGNATURE_SIDE² bytes: the grey picture squeezed to a square, line by line.
        error: the reason why it cannot be used, or None.
        damage: the reason why an image that is used in spite of it cannot be whole, or None.
        brightest: largest value of an image of 16 bits, 0 to 65535; 0 for others.
        suspicion: the reason why it is probably damaged, where nobody can know, or None.
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
    damage: str | None = None
    brightest: int = 0
    suspicion: str | None = None


class ImageIndex:
    """Facts of image files, kept in one SQLite file; several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._store = FactStore(folder)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What happened to the index itself: rebuilt after damage, or not writable."""
        return self._store.findings

    def close(self) -> None:
        """Close the file; what was found is already committed."""
        self._store.close()

    def add(self, found: Sequence[ImageFacts], rules: ImageRules | None = None) -> None:
        """Keep facts of images that were decoded elsewhere under these rules; their files are then only hashed."""
        reader = _FactReader(self._store, rules or ImageRules())
        self._store.add([], [(facts.content, reader.name, _pack(facts)) for facts in found])

    def facts(
        self,
        samples: Sequence[Sample],
        rules: ImageRules | None = None,
        *,
        verify: bool = False,
        workers: int = 2,
        progress: OnProgress | None = None,
    ) -> tuple[ImageFacts, ...]:
        """What is in each sample's file, in the samples' order; only what the index does not have is decoded.

        An interruption (any exception, also Ctrl-C) keeps what was done so far.

        Args:
            samples: their paths are read, nothing else of them.
            rules: background colour and pixel bound.
            verify: hash every file's bytes, whatever the index has.
            workers: threads; the decoders release Python's lock.
            progress: called with (images done, images in all).
        """
        progress = progress or _ignore
        reader = _FactReader(self._store, rules or ImageRules())
        paths = [sample.path for sample in samples]
        keys = [_file_key(path) for path in paths]
        found = reader.stored([None] * len(keys) if verify else keys)
        missing = [i for i, facts in enumerate(found) if facts is None]
        done = len(paths) - len(missing)
        progress(done, len(paths))
        with _Batches(self._store) as batches:
            read = _pooled(lambda i: reader.read(paths[i]), missing, workers)
            for i, (facts, is_new) in zip(missing, read, strict=True):
                found[i] = facts
                batches.add(keys[i], facts.content, (reader.name, _pack(facts)) if is_new else None)
                done += 1
                progress(done, len(paths))
        everything = [facts or ImageFacts("") for facts in found]
        return tuple(with_suffix_notes(facts, path) for facts, path in zip(everything, paths, strict=True))


class _FactReader:
    """Reads facts under one set of rules: from the store, or from the file."""

    def __init__(self, store: FactStore, rules: ImageRules) -> None:
        self._store = store
        self._rules = rules
        colour = ",".join(map(str, rules.background))
        self.name = f"{_DECODER} pillow {PIL.__version__} on {colour} up to {rules.max_pixels} at {rules.bit_depth} bit"
        self.name += " with damaged" if rules.keep_damaged else ""

    @collection_paused()
    def stored(self, keys: Sequence[FileKey | None]) -> list[ImageFacts | None]:
        """Facts of files that did not change since they were read; None for the others."""
        contents = self._store.contents(keys)
        known, found = [content for content in contents if content], dict[str, ImageFacts]()
        for i in range(0, len(known), _UNPACKED):
            packed = self._store.facts(known[i : i + _UNPACKED], self.name)
            found |= {content: _unpack(content, data) for content, data in packed.items()}
        return [found.get(content) if content else None for content in contents]

    def read(self, path: Path) -> tuple[ImageFacts, bool]:
        """Facts of one file, and whether they are new and will be the same next time."""
        try:
            data = read_bytes(path)
        except BadImage as bad:
            return ImageFacts("", error=bad.reason), False
        content = hashlib.sha256(data).hexdigest()
        known = self._store.facts([content], self.name)  # the same bytes were read under another path
        if known:
            return _unpack(content, known[content]), False
        try:
            return read_facts(content, data, self._rules), True
        except BadImage as bad:
            is_lasting = not isinstance(bad.__cause__, MemoryError) and bad.reason != reason_of_missing()
            return ImageFacts(content, error=bad.reason), is_lasting


class _Batches:
    """Collects results and writes them to the store in short transactions; the rest on leaving, also after an error."""

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
            self._write()

    def _write(self) -> None:
        files, self._files, facts, self._facts = self._files, [], self._facts, []
        if files or facts:
            self._store.add(files, facts)

    def __enter__(self) -> _Batches:
        return self

    def __exit__(self, *error: object) -> None:
        self._write()


def signature_of(rgb: NDArray[np.uint8]) -> bytes:
    """The grey picture squeezed to SIGNATURE_SIDE × SIGNATURE_SIDE, line by line, one byte per pixel.

    Args:
        rgb: H×W×3 uint8.
    """
    side = (SIGNATURE_SIDE, SIGNATURE_SIDE)
    small = Image.fromarray(rgb).resize(side, Image.Resampling.BILINEAR, reducing_gap=4.0)  # plain averages first
    return small.convert("L").tobytes()


def read_facts(content: str, data: bytes, rules: ImageRules) -> ImageFacts:
    """Decode the bytes of an image file.

    Args:
        content: SHA-256 of the bytes, hex.

    Raises:
        BadImage: it cannot be decoded.
    """
    return facts_of(content, open_image(data, rules))


def facts_of(content: str, image: OpenedImage) -> ImageFacts:
    """What decoding an image has shown.

    Args:
        content: SHA-256 of its file's bytes, hex.
    """
    return ImageFacts(
        content=content,
        pixels=_pixels_hash(image.rgb),
        width=image.width,
        height=image.height,
        format=image.format,
        mode=image.mode,
        notes=image.notes,
        signature=signature_of(image.rgb),
        damage=image.damage,
        brightest=image.brightest,
        suspicion=image.suspicion,
    )


def _pixels_hash(rgb: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(b"%d %d " % rgb.shape[:2])
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def _file_key(path: Path) -> FileKey | None:
    try:
        status = path.stat()  # before the bytes are read: a file that changes meanwhile will not match next time
    except (OSError, ValueError):
        return None
    return FileKey(os.fsencode(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def with_suffix_notes(facts: ImageFacts, path: Path) -> ImageFacts:
    """Facts belong to content; what depends on the file's name is added for each name."""
    extra = suffix_notes(path, facts.format) if facts.error is None else ()
    return replace(facts, notes=facts.notes + extra) if extra else facts


def _pack(facts: ImageFacts) -> bytes:
    plain = [facts.pixels, facts.width, facts.height, facts.format, facts.mode, facts.notes, facts.error]
    plain += [facts.damage, facts.brightest, facts.suspicion]
    return json.dumps(plain).encode() + b"\n" + facts.signature


def _unpack(content: str, packed: bytes) -> ImageFacts:
    plain, _, signature = packed.partition(b"\n")
    pixels, width, height, format_, mode, notes, error, damage, brightest, suspicion = parse_json(plain)
    return ImageFacts(
        content=content,
        pixels=pixels,
        width=width,
        height=height,
        format=format_,
        mode=mode,
        notes=tuple(notes),
        signature=signature,
        error=error,
        damage=damage,
        brightest=brightest,
        suspicion=suspicion,
    )


def _pooled(work: Callable[[int], _Result], indices: Sequence[int], workers: int) -> Iterator[_Result]:
    """Results in the order of the indices; only a few are computed ahead of the one that is taken."""
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode")
    try:
        for i in indices:
            waiting.append(pool.submit(work, i))
            if len(waiting) >= _READ_AHEAD * max(1, workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore(done: int, total: int) -> None:
    """OnProgress that nobody listens to."""
