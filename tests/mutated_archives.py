"""A seeded corpus of damaged and evil archives of every kind, each with the files that were packed, and what is right.

Right is: refused with the true reason, or unpacked with each image byte for byte as it was packed. A plain tar has no
checksum of its files: there a changed image is right when opening it says that it is damaged.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.data.archive import unpack
from headstart.data.images import BadImage, open_image
from headstart.errors import DataError

Rng = np.random.Generator
Entries = dict[str, bytes]

SUFFIXES = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "stored.zip")
DAMAGE = ("byte", "bytes", "cut", "zeros-at-head", "zeros-in-middle", "zeros-at-end", "removed", "doubled", "checksum")
ODD = {
    "no-name": "a name for every entry",
    "twice": "twice",
    "absolute": "stay inside",
    "parent": "stay inside",
    "link": "a link",
    "device": "a device",
    "too-large": "at most 2,000,000 bytes",
    "too-many": "at most 200 files",
    "unlisted": "after the end|not list",
}
"""Kind of an archive that nobody packs by mistake → what its error must say."""
HARMLESS = ("nested", "wrong-suffix")
KINDS = (*DAMAGE, *ODD, *HARMLESS)
MAX_BYTES, MAX_FILES = 2_000_000, 200
# reasons that blame what a whole archive may hold
_OF_ODD = ("stay inside", "a link", "password", "twice", "a name for", "at most", "GB free")
_BLOCK = 512  # bytes of a header in a tar
_COMPRESS = {"tar": bytes, "tar.gz": functools.partial(gzip.compress, mtime=0), "tar.bz2": bz2.compress}
_COMPRESS["tar.xz"] = lzma.compress


@dataclass(frozen=True)
class Mutation:
    """One archive: its bytes, how it was made, and the files in it."""

    number: int
    suffix: str
    kind: str
    content: bytes
    entries: Entries

    @property
    def name(self) -> str:
        return f"{self.number:04d}-{self.kind}.{'jpg' if self.kind == 'wrong-suffix' else self.suffix}"


def mutations(count: int, seed: int) -> Iterator[Mutation]:
    """So many archives; the same seed gives the same, and 120 have each kind of each format once."""
    rng = np.random.default_rng(seed)
    both = [(suffix, kind) for kind in KINDS for suffix in SUFFIXES]
    order = rng.permutation(len(both))
    for number in range(count):
        suffix, kind = both[int(order[number % len(both)])]
        entries = files(int(rng.integers(4)))
        if kind in DAMAGE:
            content = _damaged(kind, suffix, entries, rng)
        else:
            entries = _with_nested(entries) if kind == "nested" else entries
            content = _odd(kind, suffix, entries, rng)
        yield Mutation(number, suffix, kind, content, entries)


def outcome(mutation: Mutation, place: Path) -> str:
    """Unpack one archive in an empty folder: `refused`, `as packed`, `a damaged image`, or what is wrong."""
    path = place / mutation.name
    path.write_bytes(mutation.content)
    into = place / "into"
    try:
        folder = unpack(path, into, max_bytes=MAX_BYTES, max_files=MAX_FILES)
    except DataError as error:
        left = [found.name for found in place.rglob("*") if found not in (path, into)]
        return f"left behind: {left}" if left else _judge_refusal(mutation, error)
    except Exception as error:
        return f"a foreign error: {error!r}"
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    if mutation.kind in ODD:
        return "accepted"
    if found.keys() != mutation.entries.keys():
        return f"other files: {sorted(found.keys() ^ mutation.entries.keys())}"
    changed = [name for name, content in found.items() if content != mutation.entries[name]]
    return _judge_images(mutation, changed, folder) if changed else "as packed"


def _judge_refusal(mutation: Mutation, error: DataError) -> str:
    text = str(error)
    if isinstance(error.__cause__, (AssertionError, AttributeError, NameError)):
        return f"a mistake of ours: {error.__cause__!r}"
    if mutation.kind in HARMLESS:
        return f"refused without need: {text}"
    if mutation.kind in ODD:
        return "refused" if re.search(ODD[mutation.kind], text) else f"another reason: {text}"
    is_twice = mutation.kind == "doubled" and "twice" in text
    return f"another reason: {text}" if any(words in text for words in _OF_ODD) and not is_twice else "refused"


def _judge_images(mutation: Mutation, changed: list[str], folder: Path) -> str:
    for name in changed:
        try:
            pixels = open_image(folder / name).rgb
        except BadImage:
            continue
        if not np.array_equal(pixels, open_image(mutation.entries[name]).rgb):
            return f"another picture: {name}"
    return "a damaged image"


@functools.cache
def files(variant: int) -> Entries:
    """Nine PNG files in three folders; names that a plain tar header cannot hold are among them."""
    rng = np.random.default_rng(variant)
    entries: Entries = {}
    for number in range(9):
        height, width = (int(side) for side in rng.integers(8, 25, 2))
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(buffer, "PNG")
        name = f"{number}{'-long' * 25 if number == 4 else ''}.png"
        entries[f"{('ant', 'bee', 'Käfer')[number % 3]}/{name}"] = buffer.getvalue()
    return entries


def _with_nested(entries: Entries) -> Entries:
    return {**entries, "bee/more.zip": _zip(list(entries.items())), "bee/more.tar": _tar(list(entries.items()))}


def _packed(suffix: str, entries: list[tuple[str, bytes]], special: tarfile.TarInfo | None = None) -> bytes:
    if not suffix.endswith("zip"):
        return _COMPRESS[suffix](_tar(entries, special))
    return _zip(entries, special, zipfile.ZIP_STORED if suffix.startswith("stored") else zipfile.ZIP_DEFLATED)


def _tar(entries: list[tuple[str, bytes]], special: tarfile.TarInfo | None = None) -> bytes:
    buffer = io.BytesIO()
    # alternately with the long names of GNU and of POSIX
    format_ = tarfile.GNU_FORMAT if len(entries[0][1]) % 2 else tarfile.PAX_FORMAT
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as archive:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if special is not None:
            archive.addfile(special)
    return buffer.getvalue()


def _zip(
    entries: list[tuple[str, bytes]], special: tarfile.TarInfo | None = None, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)
        if special is not None:
            entry = zipfile.ZipInfo(special.name)
            entry.external_attr = (stat.S_IFLNK if special.issym() else stat.S_IFCHR) << 16
            archive.writestr(entry, special.linkname)
    return buffer.getvalue()


def _odd(kind: str, suffix: str, entries: Entries, rng: Rng) -> bytes:
    pairs = list(entries.items())
    place = int(rng.integers(1, len(pairs)))
    if kind == "unlisted":
        return _with_unlisted(suffix, pairs, place)
    if kind in ("link", "device"):
        special = tarfile.TarInfo("bee/10.png")
        special.type = tarfile.SYMTYPE if kind == "link" else tarfile.CHRTYPE
        special.linkname = str(rng.choice(["0.png", "/etc/passwd", "../../outside"]))
        return _packed(suffix, pairs, special)
    names = {
        "no-name": [".", "./.", ""] if suffix.endswith("zip") else [".", "./."],
        "twice": [pairs[0][0], "./" + pairs[0][0], pairs[0][0].replace("/", "//")],
        "absolute": ["/tmp/evil.png", "C:/evil.png", "\\evil.png"],
        "parent": ["../evil.png", "ant/../../evil.png", "..\\evil.png"],
    }
    if kind in names:
        pairs.insert(place, (str(rng.choice(names[kind])), pairs[1][1]))
        if kind == "twice":
            pairs.append(pairs.pop(place))
    if kind == "too-large":
        pairs.insert(place, ("bee/10.bmp", bytes(MAX_BYTES)))
    if kind == "too-many":
        pairs += [(f"bee/{number}.png", b"") for number in range(10, 10 + MAX_FILES)]
    return _packed(suffix, pairs)


def _with_unlisted(suffix: str, pairs: list[tuple[str, bytes]], place: int) -> bytes:
    """An archive whose readers stop early: a second tar after the end of the first, a zip whose directory lacks one."""
    if not suffix.endswith("zip"):
        return _COMPRESS[suffix](_tar(pairs[:place]) + _tar(pairs[place:]))
    content = _packed(suffix, pairs)
    starts = [match.start() for match in re.finditer(rb"PK\x01\x02", content)]
    end = content.rindex(b"PK\x05\x06")
    starts.append(end)
    removed = starts[place + 1] - starts[place]
    count, size = len(pairs) - 1, end - starts[0] - removed
    kept = content[: starts[place]] + content[starts[place + 1] : end]
    return kept + content[end : end + 8] + struct.pack("<HHI", count, count, size) + content[end + 16 :]


def _damaged(kind: str, suffix: str, entries: Entries, rng: Rng) -> bytes:
    pairs = list(entries.items())
    if suffix in ("tar", "stored.zip", "zip") or kind == "checksum" or rng.integers(2):
        return _mutate(_packed(suffix, pairs), kind, rng)
    return _COMPRESS[suffix](_mutate(_tar(pairs), kind, rng))  # damaged before it was compressed


def _mutate(whole: bytes, kind: str, rng: Rng) -> bytes:
    size = len(whole)
    is_tar = whole[257:262] == b"ustar"
    # a tar from which whole blocks were taken is a tar without that file
    width = int(rng.choice([16, 128, 600] if kind == "removed" else [16, 128, _BLOCK, 2 * _BLOCK]))
    step = int(rng.choice([1, _BLOCK])) if is_tar else 1
    place = int(rng.integers(0, (size - width) // step)) * step
    if kind == "cut":
        return whole[: int(rng.integers(1, size))]
    if kind.startswith("zeros"):
        place = {"zeros-at-head": 0, "zeros-at-end": size - width}.get(kind, place)
        return whole[:place] + bytes(width) + whole[place + width :]
    if kind == "removed":
        return whole[:place] + whole[place + width :]
    if kind == "doubled":
        return whole[: place + width] + whole[place:]
    changed = bytearray(whole)
    if kind == "checksum":
        changed[_checksum_at(whole, rng)] ^= 1 << int(rng.integers(8))
        return bytes(changed)
    for _ in range(1 if kind == "byte" else int(rng.integers(2, 30))):
        changed[int(rng.integers(size))] = int(rng.integers(256))
    return bytes(changed)


def _checksum_at(whole: bytes, rng: Rng) -> int:
    """Where a byte of a checksum stands."""
    if whole[:2] == b"PK":
        starts = [match.start() for match in re.finditer(rb"PK\x01\x02", whole)]
        return starts[int(rng.integers(len(starts)))] + 16 + int(rng.integers(4))
    if whole[257:262] == b"ustar":
        headers = [match.start() - 257 for match in re.finditer(rb"ustar", whole)]
        return headers[int(rng.integers(len(headers)))] + 148 + int(rng.integers(6))
    # gzip: CRC and size; bzip2: the combined CRC before some bits; xz: the CRC and the size in its footer
    return len(whole) - {b"\x1f\x8b": 8, b"BZ": 4, b"\xfd7": 12}[whole[:2]] + int(rng.integers(3))
