"""Damage of image files that decoders pass over: each check reads the file's structure, or asks libjpeg what it saw.

A decoder fills what it cannot read with grey, black or the background and says nothing. Here the file itself is asked:
checksums, lengths, end marks, and whether there is data for the size that the header states. What leaves the structure
whole (a changed byte inside the data of an uncompressed image) cannot be seen by anyone.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import ImageFile

try:  # optional: it passes on what libjpeg says, which Pillow drops
    import simplejpeg
except ImportError:
    simplejpeg = None

_PNG_CHECKED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")  # the chunks that decide the pixels
_FILLER = (0x00, 0x20, 0xFF)  # bytes that cameras and scanners pad with
_ROUNDS = 8  # harmless oddities of one JPEG that are looked behind
_LEAST_COVER = 0.25  # of its canvas, for the first frame of a GIF with transparency or animation
_VP8_PIXELS_PER_BYTE = 1000  # flat pictures of any size and quality have at most 565
_BMP_SURPLUS = 8  # bytes: some writers pad the file
_TIFF_DEFLATE = (8, 32946)
_TIFF_JPEG, _TIFF_LZW = 7, 5
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WEBP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}
_UNSUPPORTED_BITS = (10, 12, 14, 24, 32, 64)  # in some layouts; one of another number has a damaged header
_ZEROS = 24  # bytes: arithmetic and Huffman codes have no such run at their end
_SAMPLES = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex integer", 6: "complex"}


def find_damage(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """The reason why a file cannot be whole, for people; None when nothing speaks against it.

    Args:
        image: opened, not yet decoded.
        data: the bytes of the file.
    """
    check = _CHECKS.get(str(image.format))
    if check is None:
        return None
    try:
        return check(image, data)
    except (struct.error, IndexError, ValueError, TypeError, KeyError) as error:  # the structure breaks off
        return f"truncated or damaged (its structure breaks off: {error})"


def reason_of_unknown(data: bytes) -> str | None:
    """Why a file that begins like an image of a known format cannot be opened; None when it begins like none."""
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if kind == "TIFF":
        return _tiff_kind(data) or "truncated or damaged (its TIFF header cannot be read)"
    if kind == "WEBP" and data[8:12] != b"WEBP":
        return None
    kind = "AVIF" if data[4:8] == b"ftyp" and b"avif" in data[8:40] else kind
    return f"truncated or damaged (it begins as {kind}, but its header cannot be read)" if kind else None


def libjpeg_warning(data: bytes, colours: str) -> str | None:
    """What libjpeg says about a JPEG whose pixels it fills in; None when it says nothing or cannot be asked.

    Bytes between the header's segments, and padding after the pixels, are common in intact photographs: they are taken
    out and the file is asked again, so that they neither count nor hide what comes after them.

    Args:
        colours: GRAY, RGB or CMYK, as the file has them.
    """
    if simplejpeg is None:
        return None
    said: str | None = ""
    for _ in range(_ROUNDS):
        said = _first_warning(data, colours)
        without = _without_filler(data, said) if said else None
        if without is None:
            break
        data = without
    if not said:
        return None
    return f"{'truncated or damaged' if 'remature end' in said else 'damaged'} (libjpeg: {said})"


def _first_warning(data: bytes, colours: str) -> str | None:
    """The first warning of libjpeg; None without one, also where simplejpeg cannot decode such a file at all."""
    try:
        simplejpeg.decode_jpeg(data, colorspace=colours, strict=True)
    except ValueError as error:
        try:
            simplejpeg.decode_jpeg(data, colorspace=colours, strict=False)
        except ValueError:
            return None  # an error and not a warning: Pillow's decoder raises it too, or can read such a file
        return str(error).removeprefix("Corrupt JPEG data: ")
    return None


def _without_filler(data: bytes, said: str) -> bytes | None:
    """The file without what a harmless warning is about; None when the warning is about damage."""
    if "ICC marker" in said or "JFIF revision" in said:
        return _without_applications(data)
    found = re.match(r"(\d+) extraneous bytes before marker 0x(\w\w)", said)
    if not found:
        return None
    count, wanted = int(found[1]), int(found[2], 16)
    last, is_header = 2, True
    for marker, start, end in _segments(data):
        between = data[start - count : start] if start - count >= last else b""
        is_filler = len(set(between)) == 1 and between[0] in _FILLER
        if marker == wanted and between and (start - last == count if is_header else is_filler):
            return data[: start - count] + data[start:]
        last, is_header = end, is_header and marker != 0xDA
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each JPEG segment; after a scan header, of the first marker behind its data."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF or data[position + 1] in (0x00, 0xFF):
            position = data.find(b"\xff", position + 1)
            if position < 0:
                return
            continue
        marker = data[position + 1]
        if marker == 0xD9 or 0xD0 <= marker <= 0xD8 or marker == 0x01:
            yield marker, position, position + 2
            if marker == 0xD9:
                return
            position += 2
            continue
        end = position + 2 + int(struct.unpack_from(">H", data, position + 2)[0])
        yield marker, position, end
        position = _end_of_scan(data, end) if marker == 0xDA else end
    if position + 2 <= len(data):
        yield data[position + 1], position, position + 2


def _end_of_scan(data: bytes, start: int) -> int:
    """Position of the first marker in entropy-coded data that ends it, or of the end of the file."""
    bytes_ = np.frombuffer(data, dtype=np.uint8)
    for block in range(start, len(data) - 1, 1 << 16):
        places = np.flatnonzero(bytes_[block : block + (1 << 16)] == 0xFF) + block
        places = places[places + 1 < len(data)]
        after = bytes_[places + 1]
        ends = places[(after != 0) & (after != 0xFF) & ((after < 0xD0) | (after > 0xD7))]
        if len(ends):
            return int(ends[0])
    return len(data)


def _without_applications(data: bytes) -> bytes | None:
    """A JPEG without its APPn segments but Adobe's, which decides its colours; None when there are none."""
    parts, last = [], 0
    for marker, start, end in _segments(data):
        if marker == 0xDA:
            break
        if 0xE0 <= marker <= 0xEF and marker != 0xEE:
            parts.append(data[last:start])
            last = end
    return b"".join([*parts, data[last:]]) if last else None


def _check_jpeg(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Every component has its scans, down to the last bit of every coefficient.

    Source: ITU T.81, B.2.3 (scan header) and G.1.1.1 (progressive scans).
    """
    components: list[int] = []
    progressive = bool(image.info.get("progressive"))
    missing: set[tuple[int, int]] = set()
    zeros_are_flat = True
    for marker, start, end in _segments(data):
        if marker == 0xC4:
            zeros_are_flat = zeros_are_flat and _zeros_mean_flat(data[start + 4 : end])
        if marker in (0xC0, 0xC1, 0xC2) and not components:
            count = data[start + 9]
            components = [data[start + 10 + 3 * i] for i in range(count)]
            coefficients = range(64) if progressive else range(1)
            missing = {(component, k) for component in components for k in coefficients}
        if marker == 0xDA:
            count = data[start + 4]
            first, last, bits = data[start + 5 + 2 * count : start + 8 + 2 * count]
            if not progressive or not bits & 0x0F:
                covered = range(first, last + 1) if progressive else range(1)
                missing -= {(data[start + 5 + 2 * i], k) for i in range(count) for k in covered}
            if not missing:
                if progressive or zeros_are_flat or count < len(components):
                    return None
                zeros = data.find(bytes(_ZEROS), end)
                return "damaged (its image data are zeros in between)" if 0 <= zeros < _end_of_scan(data, end) else None
    if not components:
        return None  # lossless or arithmetic coding: the decoder decides
    return "truncated (its last scans are missing)" if missing else None


def _zeros_mean_flat(tables: bytes) -> bool:
    """Whether zero bits are an even area in these Huffman tables: the shortest code is then "end of block".

    Only then can an intact picture hold many zero bytes; the usual tables give that code to brightness that changes.
    """
    position = 0
    while position + 17 <= len(tables):
        kind, counts = tables[position], tables[position + 1 : position + 17]
        if kind & 0x10 and tables[position + 17] != 0:  # a table of AC coefficients
            return False
        position += 17 + sum(counts)
    return True


def _check_png(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Checksums of the chunks that decide pixels, and the end chunk: Pillow checks neither.

    Source: PNG specification, third edition, 5.3 (chunk layout) and 5.5 (CRC).
    """
    return _png_damage(memoryview(data))


def _png_damage(data: memoryview) -> str | None:
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if name == b"IEND":
            return None
        if not name.isalpha() or end + 4 > len(data):
            break
        if name in _PNG_CHECKED and zlib.crc32(data[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return f"damaged (the checksum of its {name.decode()} chunk at byte {position:,} is wrong)"
        position = end + 4
    return f"truncated or damaged (no valid PNG chunk at byte {position:,}, before the end of the image)"


def _check_gif(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """The first frame lies on the canvas, covers it, and its data end with their end mark.

    Source: GIF89a specification, 18 to 23.
    """
    canvas_width, canvas_height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    transparent = False
    while data[position] == 0x21:  # extensions
        transparent = transparent or (data[position + 1] == 0xF9 and bool(data[position + 3] & 1))
        position = _after_blocks(data, position + 2)
    if data[position] != 0x2C:
        return f"truncated or damaged (no GIF frame at byte {position:,})"
    left, top, width, height, flags = struct.unpack_from("<HHHHB", data, position + 1)
    if left + width > canvas_width or top + height > canvas_height:
        return f"damaged (a frame of {width}×{height} in a GIF of {canvas_width}×{canvas_height})"
    position += 10 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0) + 1
    position = _after_blocks(data, position)
    cover = width * height / max(canvas_width * canvas_height, 1)
    is_animated = data[position : position + 1] in (b"\x21", b"\x2c")
    if cover < (_LEAST_COVER if transparent or is_animated else 1.0):
        return (
            f"damaged (its header says {canvas_width}×{canvas_height}, but its first frame has only {width}×{height})"
        )
    if position >= len(data):
        return "truncated (its end mark is missing)"
    return None


def _after_blocks(data: bytes, position: int) -> int:
    while data[position]:
        position += data[position] + 1
    return position + 1


def _check_webp(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Lengths of the chunks, and enough data for the stated size: libwebp fills what is missing.

    Source: RFC 9649, 2 (container); RFC 6386, 9.1 (VP8 frame header).
    """
    size = struct.unpack_from("<I", data, 4)[0] + 8
    if size > len(data):
        return f"truncated ({len(data):,} of {size:,} bytes)"
    if data[size:].strip(b"\0"):
        return f"damaged ({len(data) - size:,} bytes behind its stated end)"
    position = 12
    while position + 8 <= size:
        name, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > size:
            return f"truncated or damaged (its {name.decode('latin-1')!r} chunk ends behind the file)"
        if name == b"VP8L" and length > 2 * _ZEROS and _ends_in_zeros(data[: position + 8 + length]):
            return "truncated or damaged (its image data end in zeros)"
        if name == b"VP8 ":
            head = int.from_bytes(data[position + 8 : position + 11], "little")
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, position + 14))
            if (head >> 5) + 10 > length:
                return "truncated or damaged (its first partition ends behind the image data)"
            if width * height > _VP8_PIXELS_PER_BYTE * length:
                return f"damaged (its {length:,} bytes cannot hold {width}×{height} pixels)"
            # even areas are zeros, about one byte for 560 pixels: more of them than pixels are no picture
            if bytes(max(_ZEROS, 2 * width * height // 500)) in data[position + 8 : position + 8 + length]:
                return "damaged (its image data are zeros in between)"
        position += 8 + length + (length & 1)
    return None


def _ends_in_zeros(data: bytes) -> bool:
    return not any(data[-_ZEROS:])


def _check_tiff(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Every strip or tile lies in the file, there are enough of them, and packed ones unpack with their checksum.

    Source: TIFF 6.0, sections 3 (strips) and 15 (tiles); Adobe Technical Note 3 (Deflate).
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    width, height = int(tags[256]), int(tags[257])
    tiled = 322 in tags
    offsets, counts = _numbers(tags.get(324 if tiled else 273)), _numbers(tags.get(325 if tiled else 279))
    planes = int(tags.get(277, 1)) if tags.get(284, 1) == 2 else 1
    if tiled:
        needed = -(-width // tags[322]) * -(-height // tags[323]) * planes
    else:
        needed = -(-height // min(max(int(tags.get(278, height)), 1), height)) * planes
    if len(offsets) < needed:
        return f"damaged ({len(offsets)} of {needed} {'tiles' if tiled else 'strips'})"
    for offset, count in zip(offsets, counts, strict=False):
        if offset + count > len(data):
            return f"truncated or damaged (image data at byte {offset:,} ends behind the file)"
    samples = sum(_numbers(tags.get(258, (1,)))) if planes == 1 else int(_numbers(tags.get(258, (1,)))[0]) * planes
    row = -(-width * samples // 8)
    if tags.get(259, 1) == 1 and not tiled and counts and sum(counts) < row * height:
        return f"damaged ({sum(counts):,} of {row * height:,} bytes of image data)"
    parts = (data[offset : offset + count] for offset, count in zip(offsets, counts, strict=False))
    packing = tags.get(259, 1)
    if packing in _TIFF_DEFLATE:
        return next((said for said in map(_zlib_damage, parts) if said), None)
    if packing == _TIFF_JPEG:
        tables, colours = bytes(tags.get(347, b"")), "GRAY" if planes > 1 or int(tags.get(277, 1)) == 1 else "RGB"
        whole = (tables[:-2] + part[2:] if tables else part for part in parts)  # without end mark, without start mark
        return next((said for said in (libjpeg_warning(part, colours) for part in whole) if said), None)
    if packing == _TIFF_LZW and any(_ends_in_zeros(part) for part in parts if len(part) > 2 * _ZEROS):
        return "truncated or damaged (its image data end in zeros)"
    return None


def _numbers(value: object) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(one) for one in value) if isinstance(value, tuple) else (int(value),)  # type: ignore[call-overload]


def _zlib_damage(packed: bytes) -> str | None:
    """Unpack without keeping anything, so that the checksum at the end is reached."""
    stream = zlib.decompressobj()
    try:
        stream.decompress(packed, 1 << 20)
        while stream.unconsumed_tail:
            stream.decompress(stream.unconsumed_tail, 1 << 20)
        while not stream.eof and stream.decompress(b"", 1 << 20):
            pass
    except zlib.error as error:
        return f"damaged ({error})"
    return None if stream.eof else "truncated (its packed data break off)"


def _tiff_kind(data: bytes) -> str | None:
    """The samples of a TIFF that Pillow does not know, such as `3 × 32 bit floating-point`."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, start)
        tags: dict[int, int] = {}
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", data, place)
            if tag in (258, 259, 277, 339) and kind == 3:
                (where,) = struct.unpack_from(order + "I", data, place + 8) if count > 2 else (place + 8,)
                tags[tag] = int(struct.unpack_from(order + "H", data, where)[0])
    except struct.error:
        return None
    if tags.get(258) not in _UNSUPPORTED_BITS and not (tags.get(258) == 16 and tags.get(339) == 3):
        return None
    samples = f"{tags.get(277, 1)} × {tags[258]} bit {_SAMPLES.get(tags.get(339, 1), 'unknown')}"
    return f"a TIFF with pixels of {samples}, which is not supported; save it as 8 or 16 bit"


def _check_bmp(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """As many bytes as its size needs, no more and no less.

    Source: BITMAPFILEHEADER and BITMAPINFOHEADER of the Windows API.
    """
    offset, header = struct.unpack_from("<II", data, 10)
    if header < 40:
        return None
    width, height, bits, packing = struct.unpack_from("<ii2xHI", data, 18)
    if packing not in (0, 3):
        return None  # run lengths: the decoder decides
    needed = -(-width * bits // 32) * 4 * abs(height)
    if offset + needed > len(data):
        return f"truncated ({len(data) - offset:,} of {needed:,} bytes of image data)"
    if abs(len(data) - offset - needed) > _BMP_SURPLUS:
        return f"damaged ({len(data) - offset:,} bytes of image data, but {width}×{abs(height)} pixels need {needed:,})"
    return None


def _check_ppm(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """A binary netpbm ends with its last pixel, or with the next image.

    Source: netpbm, formats pgm and ppm.
    """
    found = re.match(rb"P([456])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:(?:\s|#[^\n]*\n)+(\d+))?", data)
    if not found:
        return None
    width, height, top = int(found[2]), int(found[3]), int(found[4] or 1)
    if found[1] == b"4":
        end = re.match(rb"P4(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+", data)
        start, needed = (end.end() if end else 0) + 1, -(-width // 8) * height
    else:
        start = found.end() + 1
        needed = width * height * (3 if found[1] == b"6" else 1) * (2 if top > 255 else 1)
    rest = data[start + needed :].strip()
    if rest and not rest.startswith(b"P"):
        return f"damaged ({len(rest):,} bytes behind its last pixel)"
    return None


def _check_ico(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Every picture lies in the file, and those that are PNG are whole."""
    (count,) = struct.unpack_from("<H", data, 4)
    for i in range(count):
        size, offset = struct.unpack_from("<II", data, 6 + 16 * i + 8)
        if offset + size > len(data):
            return "truncated (one of its pictures ends behind the file)"
        if data[offset : offset + 4] == b"\x89PNG":
            said = _png_damage(memoryview(data)[offset : offset + size])
            if said:
                return said
    return None


def _check_jpeg2000(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """The codestream's tile parts follow each other up to the end mark.

    Source: ITU T.800, A.4 (SOT, EOC).
    """
    start = data.find(b"\xff\x4f\xff\x51")
    tile = data.find(b"\xff\x90\x00\x0a", start)
    while tile >= 0 and data[tile : tile + 2] == b"\xff\x90":
        (length,) = struct.unpack_from(">I", data, tile + 6)
        if not length:  # up to the end mark
            return None if b"\xff\xd9" in data[-64:] else "truncated (its end mark is missing)"
        tile += length
    return None if data[tile : tile + 2] == b"\xff\xd9" else "truncated or damaged (a tile ends elsewhere than stated)"


def _check_boxes(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Every box of the container lies in the file.

    Source: ISO/IEC 14496-12, 4.2.
    """
    position = 0
    while position + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, position + 8)
        if size == 0:
            return None
        if name == b"mdat" and size > 4 * _ZEROS and _ends_in_zeros(data[: position + size]):
            return "truncated or damaged (its image data end in zeros)"
        if size < 8 or position + size > len(data):
            return f"truncated or damaged (its {name.decode('latin-1')!r} box ends behind the file)"
        position += size
    return None


_CHECKS: dict[str, Callable[[ImageFile.ImageFile, bytes], str | None]] = {
    "JPEG": _check_jpeg,
    "MPO": _check_jpeg,
    "PNG": _check_png,
    "GIF": _check_gif,
    "WEBP": _check_webp,
    "TIFF": _check_tiff,
    "BMP": _check_bmp,
    "PPM": _check_ppm,
    "ICO": _check_ico,
    "JPEG2000": _check_jpeg2000,
    "AVIF": _check_boxes,
}
