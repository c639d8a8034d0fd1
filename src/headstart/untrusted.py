"""Files from outside, read with bounds: regular files only, so many bytes, and JSON of bounded depth and plain sense.

The only place that parses JSON. Whatever is wrong is an `Untrusted` error, a ValueError with a short reason, which the
reader of the file turns into its own kind of HeadstartError.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import stat
import types
import zlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from headstart import files

MOST_BYTES = 100_000_000  # the record of a run with 2,000 classes has 30 MB, nearly all of it the confusion matrix
MOST_DEPTH = 32  # objects and lists inside each other; our own files have six at most
CHECKSUM = "checksum"
"""Key of a JSON object's own checksum, see `write_sealed`."""

_OF_THE_KERNEL = "/proc"
Kind = type | tuple[type, ...]
_T = TypeVar("_T")


class Untrusted(ValueError):
    """What a file from outside holds cannot be used; the text is the reason."""


class NotFinite(Untrusted):
    """A number is infinite or not a number, which JSON does not know."""


def check_regular(path: Path) -> None:
    """Check that a path is a regular file, so that reading it ends.

    Raises:
        OSError: there is nothing, or it cannot be seen. Untrusted: it is a folder, a pipe, a socket or a device.
    """
    status = path.stat()
    mode = status.st_mode
    if not status.st_size and path.resolve().is_relative_to(_OF_THE_KERNEL):  # reading some of them waits for ever
        raise Untrusted("a file of the kernel, not one on a disk")
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise Untrusted(f"{kinds.get(stat.S_IFMT(mode), 'a device')}, not a file")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """All bytes of a regular file.

    Raises:
        OSError: it cannot be read. Untrusted: it is no regular file, or has more bytes than `most`.
    """
    check_regular(path)
    with path.open("rb") as file:
        data = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)
    if len(data) > most:
        raise Untrusted(f"more than {most:,} bytes")
    return data


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        OSError: it cannot be read. Untrusted: it is no regular file, too large, or not UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise Untrusted(f"no text in UTF-8: byte {error.start:,}") from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hex.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 18):
            digest.update(block)
    return digest.hexdigest()


def parse_json(text: str | bytes, most: int = MOST_BYTES) -> Any:
    """The value of a JSON text.

    Raises:
        Untrusted: it is too long or too deep, no JSON, names a key twice, or holds a number that is not finite.
    """
    if len(text) > most:
        raise Untrusted(f"more than {most:,} characters")
    try:
        text = text if isinstance(text, str) else text.decode("utf-8", "surrogatepass")
        value = _DECODER.decode(text.removeprefix("\ufeff"))  # editors of Windows begin a file with this mark
    except Untrusted:
        raise
    except RecursionError:
        raise Untrusted(_TOO_DEEP) from None
    except ValueError as error:
        raise Untrusted(f"no JSON: {error}"[:200]) from error
    if text.count("[") + text.count("{") > MOST_DEPTH:  # fewer cannot be deeper; most texts are thousands of short ones
        _check_depth(value)
    return value


def parse_object(
    text: str | bytes, kinds: Mapping[str, Kind] | None = None, *, most: int = MOST_BYTES
) -> dict[str, Any]:
    """The JSON object of a text, with the kinds of its values checked.

    Args:
        kinds: key → type or types that its value must have; a bool counts as bool only. Other keys may be there.

    Raises:
        Untrusted: as `parse_json`; it is no object, or a value is missing or of another kind.
    """
    values = parse_json(text, most)
    if not isinstance(values, dict):
        raise Untrusted(f"a JSON {_kind_name(type(values))} where an object is expected")
    return check_kinds(values, kinds or {})


def read_object(path: Path, kinds: Mapping[str, Kind] | None = None, *, most: int = MOST_BYTES) -> dict[str, Any]:
    """The JSON object in a file; its checksum, where it has one, is checked and left out.

    Raises:
        OSError: it cannot be read. Untrusted: as `read_text` and `parse_object`, or the checksum is another.
    """
    values = parse_object(read_text(path, most), most=most)
    if CHECKSUM in values and values.pop(CHECKSUM) != _checksum(values):
        raise Untrusted("a damaged file: its checksum is another")
    return check_kinds(values, kinds or {})


def write_sealed(path: Path, values: Mapping[str, Any], *, hint: str = "") -> None:
    """Write a JSON object with a checksum of itself, whole or not at all; `read_object` checks it.

    Raises:
        RunError: it cannot be written there. ValueError: a number is not finite.
    """
    files.write_json(path, {**values, CHECKSUM: _checksum(values)}, hint=hint)


def check_kinds(values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The values themselves, when each of these keys is there with a value of its kind.

    Raises:
        Untrusted: a key is missing, or its value is of another kind.
    """
    for key, kind in kinds.items():
        if key not in values:
            raise Untrusted(f"no {key}")
        allowed = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(values[key], allowed) or (isinstance(values[key], bool) and bool not in allowed):
            raise Untrusted(f"{key} is {values[key]!r:.60}, not {' or '.join(map(_kind_name, allowed))}")
    return dict(values)


def check_fields(value: _T) -> _T:
    """The dataclass itself, when all its fields, and theirs, are of the annotated types; an int may stand for a float.

    Raises:
        Untrusted: one is not; it is named.
    """
    for name, hint in _hints_of(value):
        wrong = _misfit(getattr(value, name), hint)
        if wrong is not None:
            raise Untrusted(f"{name}{wrong}")
    return value


def _hints_of(value: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of a dataclass with their types."""
    kind: Any = type(value)
    return _hints(kind)


@cache
def _hints(kind: Any) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(kind)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(kind))


def _misfit(value: Any, hint: Any) -> str | None:
    """Where and how a value differs from its annotation; None where it does not."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return None
    if origin in (Union, types.UnionType):
        found = [_misfit(value, one) for one in inner]
        return None if None in found else found[0]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return None
    if not isinstance(value, origin or hint) or (isinstance(value, bool) and hint is int):
        return f" is {value!r:.60}, not {_kind_name(origin or hint)}"
    pairs: Iterable[tuple[Any, Any, Any]] = ()
    if dataclasses.is_dataclass(value):
        pairs = ((f".{name}", getattr(value, name), one) for name, one in _hints_of(value))
    elif isinstance(value, Mapping) and inner:
        pairs = ((f"[{key!r:.40}]", item, inner[1]) for key, item in value.items())
    elif isinstance(value, (tuple, list)) and inner:
        if len(inner) > 1 and inner[1] is not ... and len(value) != len(inner):
            return f" has {len(value)} values, not {len(inner)}"
        every = len(inner) == 1 or inner[1] is ...
        pairs = ((f"[{i}]", item, inner[0] if every else inner[i]) for i, item in enumerate(value))
    return next((f"{at}{wrong}" for at, item, one in pairs if (wrong := _misfit(item, one)) is not None), None)


def _checksum(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        if depth > MOST_DEPTH:
            raise Untrusted(_TOO_DEEP)
        level = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Untrusted("a JSON object that names a key twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotFinite(f"{text[:20]}, which is no finite number")
    return number


def _kind_name(kind: type) -> str:
    names: dict[type, str] = {dict: "object", list: "list", str: "text", int: "whole number", float: "number"}
    return names.get(kind, "nothing" if kind is type(None) else kind.__name__)


_TOO_DEEP = f"JSON deeper than {MOST_DEPTH} levels"
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
