"""TIFFs whose pixels are of a kind that is not read, or that Pillow reads wrongly; told from the first directory."""

from __future__ import annotations

import struct

_SAMPLES = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex integer", 6: "complex"}
_COLOURS = {
    0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELAB", 9: "ICC LAB",
    10: "ITU LAB", 32803: "raw sensor", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw",
}  # fmt: skip
_PACKINGS = {
    1: "none", 2: "CCITT", 3: "CCITT G3", 4: "CCITT G4", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "Deflate", 9: "JBIG",
    32773: "PackBits", 32946: "Deflate", 34712: "JPEG 2000", 33003: "JPEG 2000", 33004: "JPEG 2000",
    33005: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 34933: "PNG", 34934: "JPEG XR",
    50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_BIG = (b"+\0", b"\0+")  # what BigTIFF has in place of 42
_WEBP = 50001
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of values that are read here
_MOST_ENTRIES = 4096  # of a directory


def unsupported_tiff(data: bytes) -> str | None:
    """What a TIFF holds that is not read, such as `3 × 32 bit floating-point`; None where that cannot be told."""
    try:
        tags = directory(data)
    except (struct.error, KeyError, ValueError):
        return None
    if not {256, 257} <= tags.keys() or not (tags.keys() & {273, 324}):
        return None
    packing = tags.get(259, 1)
    colours = _COLOURS.get(tags.get(262, 1), f"colours of kind {tags.get(262)}")
    samples = f"{tags.get(277, 1)} × {tags.get(258, 1)} bit {_SAMPLES.get(tags.get(339, 1), 'unknown')}"
    packed = "" if packing == 1 else f", packed with {_PACKINGS.get(packing, f'method {packing}')}"
    planes = ", one plane after another" if _in_planes(tags) else ""
    kind = "BigTIFF" if data[2:4] in _BIG else "TIFF"
    if data[:4] == b"MM\0+":  # whatever its pixels are
        return f"a big-endian BigTIFF ({samples}, {colours}), which is not supported; save it as TIFF or PNG"
    return (
        f"a {kind} with pixels of {samples} ({colours}{packed}{planes}), which is not supported; save it as RGB "
        "or grey of 8 or 16 bit"
    )


def misread_tiff(data: bytes) -> str | None:
    """Why a TIFF that Pillow opens is refused: its pixels would be wrong, or depend on how libtiff was built.

    Pillow takes signed bytes for unsigned ones, and half of a plane of 16 bits for all of it.
    """
    try:
        tags = directory(data)
    except (struct.error, KeyError, ValueError):
        return None  # the decoder decides
    bits, is_signed = tags.get(258, 1), tags.get(339, 1) == 2
    is_misread = (bits == 8 and is_signed) or (bits > 8 and _in_planes(tags)) or tags.get(259) == _WEBP
    return unsupported_tiff(data) if is_misread else None


def _in_planes(tags: dict[int, int]) -> bool:
    return tags.get(284, 1) == 2 and tags.get(277, 1) > 1


def byte_order(data: bytes) -> tuple[str, bool]:
    """The byte order of a file as `struct` has it, and whether it is a BigTIFF."""
    return "<" if data[:2] == b"II" else ">", data[2:4] in _BIG


def first_place(data: bytes) -> int:
    """Where the first directory lies."""
    order, is_big = byte_order(data)
    return int(struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)[0])


def directory(data: bytes, start: int | None = None) -> dict[int, int]:
    """The first value of each tag of whole numbers in the first directory, or in that at a place.

    Raises:
        struct.error, KeyError, ValueError: the directory is not whole.

    Source: TIFF 6.0, section 2; the BigTIFF file format (libtiff).
    """
    order, is_big = byte_order(data)
    start = first_place(data) if start is None else start
    (entries,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, start)
    if entries > _MOST_ENTRIES:
        raise ValueError(entries)
    first, size, inside = start + (8 if is_big else 2), 20 if is_big else 12, 8 if is_big else 4
    tags: dict[int, int] = {}
    for place in range(first, first + size * entries, size):
        tag, kind, count = struct.unpack_from(order + ("HHQ" if is_big else "HHI"), data, place)
        value = place + size - inside
        if kind not in _TYPES or not count:
            continue
        if count * struct.calcsize(_TYPES[kind]) > inside:
            (value,) = struct.unpack_from(order + ("Q" if is_big else "I"), data, value)
        tags[tag] = int(struct.unpack_from(order + _TYPES[kind], data, value)[0])
    return tags
