"""Whether a JPEG is whole: its segments, what libjpeg says while it decodes, and what it fills in without a word."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageFile

try:  # optional: it says what libjpeg filled in
    import simplejpeg
except ImportError:
    simplejpeg = None

ZEROS = 24  # bytes: arithmetic and Huffman codes have no such run at their end
_ZEROS_WITHIN = 16  # bytes: in the usual tables 40 coefficients of −1 one after another; 12 were seen in a whole file
_FILLER = (0x00, 0x20, 0xFF)  # bytes that cameras and scanners pad with
_TEXT = 12  # bytes of text before a marker: random ones are printable in seven files of a million
_OTHER = b"\x55\xaa\x33" * 40  # data that change every picture that has use for them
_ENDS_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # FF 00 is a byte of the image, D0 to D7 restart within the scan
_WARNINGS = ("Corrupt JPEG data", "Premature end")  # how libjpeg's begin
_LOSSLESS, _JPEG_LS = (0xC3, 0xC7, 0xCB, 0xCF), 0xF7  # frame headers of other codings
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), _JPEG_LS)
_ROUNDS = 8  # harmless oddities of one JPEG that are looked behind


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
        return _unused_end(data) if colours == "CMYK" else None
    return f"{'truncated or damaged' if 'remature end' in said else 'damaged'} (libjpeg: {said})"


def _unused_end(data: bytes) -> str | None:
    """Damage of a CMYK JPEG whose last byte no pixel needs: libjpeg fetches a few bytes ahead and counts only the rest.

    Without it the data of a whole file end too early, and libjpeg says so.
    """
    end = next((start for marker, start, _ in segments(data) if marker == 0xD9), 0)
    begin = end - (2 if data[end - 2 : end] == b"\xff\x00" else 1)  # FF 00 is a byte of the image
    if begin <= 0 or data[begin] in _FILLER or _first_warning(data[:begin] + data[end:], "CMYK"):
        return None
    return "damaged (no pixel depends on the last bytes of its image data)"


def missing_end(image: Image.Image, data: bytes) -> str | None:
    """Damage that Pillow does not pass on: the data of a JPEG end early, and the rest of the picture is filled in.

    What is filled in is even grey, to the last corner. Data put before the end mark change it; a whole picture with a
    grey corner has no use for them and stays as it is.
    """
    corner = np.asarray(image.crop((max(image.width - 8, 0), max(image.height - 8, 0), image.width, image.height)))
    end = data.rfind(b"\xff\xd9")
    if corner.min() != corner.max() or end < 0:
        return None
    longer = Image.open(io.BytesIO(data[:end] + _OTHER + data[end:]), formats=("JPEG",))
    changed = not np.array_equal(np.asarray(longer), np.asarray(image))
    return "truncated or damaged (its data end before the last pixels)" if changed else None


def _first_warning(data: bytes, colours: str) -> str | None:
    """The first warning of libjpeg; None without one, also where simplejpeg cannot decode such a file at all."""
    try:
        simplejpeg.decode_jpeg(data, colorspace=colours, strict=True)
    except ValueError as error:
        said = str(error)
        try:
            simplejpeg.decode_jpeg(data, colorspace=colours, strict=False)
        except ValueError:
            if not said.startswith(_WARNINGS):  # those about the header are raised in any case
                return None  # an error and not a warning: Pillow's decoder raises it too, or can read such a file
        return said.removeprefix("Corrupt JPEG data: ")
    return None


def _without_filler(data: bytes, said: str) -> bytes | None:
    """The file without what a harmless warning is about; None when the warning is about damage."""
    if "ICC marker" in said or "JFIF revision" in said:
        return _without_applications(data)
    found = re.match(r"(\d+) extraneous bytes before marker 0x(\w\w)", said)
    if not found:
        return None
    count, wanted = int(found[1]), int(found[2], 16)
    last, is_header, scan = 2, True, len(data)
    for marker, start, end in segments(data):
        if marker == wanted and is_header and start - last == count:
            return data[:last] + data[start:]
        if marker == wanted and not is_header and (begin := _filler_before(data, start, count)) >= last:
            return data[:begin] + data[start:]
        if marker == 0xDA:
            scan = min(scan, end)
        last, is_header = end, is_header and marker != 0xDA
    if not 0xD0 <= wanted <= 0xD7:
        return None
    begins = ((_filler_before(data, found.start(), count), found.start())  # restart markers lie inside a scan
              for found in re.compile(re.escape(bytes((0xFF, wanted)))).finditer(data, scan))  # fmt: skip
    return next((data[:begin] + data[start:] for begin, start in begins if begin >= scan), None)


def _filler_before(data: bytes, marker: int, count: int) -> int:
    """Where the filler before a marker begins that explains so many bytes too many; -1 where it is no filler.

    All of the filler is meant, not only what is too many: image data that were overwritten with filler are then too
    short. Text is taken by its length, since the codes of an image are hardly ever a dozen printable characters.
    """
    between = data[max(marker - count, 0) : marker]
    if len(between) < count or not between:
        return -1
    if len(set(between)) == 1 and between[0] in _FILLER:
        begin = len(data[:marker].rstrip(between[:1]))
        return begin + (between[0] == 0x00 and data[begin - 1 : begin] == b"\xff")  # FF 00 is a byte of the image
    is_text = count >= _TEXT and all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in between)
    return marker - count if is_text else -1


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
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
    found = _ENDS_SCAN.search(data, start)
    return found.start() if found else len(data)


def _without_applications(data: bytes) -> bytes | None:
    """A JPEG without its APPn segments but Adobe's, which decides its colours; None when there are none."""
    parts, last = [], 0
    for marker, start, end in segments(data):
        if marker == 0xDA:
            break
        if 0xE0 <= marker <= 0xEF and marker != 0xEE:
            parts.append(data[last:start])
            last = end
    return b"".join([*parts, data[last:]]) if last else None


def check_jpeg(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Every component has its scans, down to the last bit of every coefficient.

    Source: ITU T.81, B.2.3 (scan header), B.2.4.1 (quantisation: no step is zero) and G.1.1.1 (progressive scans).
    """
    components: list[int] = []
    progressive = bool(image.info.get("progressive"))
    missing: set[tuple[int, int]] = set()
    zeros_are_flat = True
    for marker, start, end in segments(data):
        if marker in _LENGTHS and not _LENGTHS[marker](data[start + 4 : end]):
            return f"damaged (its segment 0xff{marker:02x} at byte {start:,} has another length than its content)"
        if marker == 0xDB and _has_zero_step(data[start + 4 : end]):
            return "damaged (a quantisation table holds zeros)"
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
                stop = _end_of_scan(data, end)
                zeros = data.find(bytes(_ZEROS_WITHIN), end, stop)
                if zeros < 0 or _is_padding(image, data, begin=zeros, stop=stop):
                    return None
                return "damaged (its image data are zeros in between)"
    if not components:
        return None  # lossless or arithmetic coding: the decoder decides
    return "truncated (its last scans are missing)" if missing else None


def _has_zero_step(tables: bytes) -> bool:
    """Whether a table of a DQT segment, of 64 values of 8 or 16 bits, has a step of zero, which loses a coefficient."""
    at = 0
    while at < len(tables):
        size = 2 if tables[at] >> 4 else 1
        values = tables[at + 1 : at + 1 + 64 * size]
        if any(not any(values[i : i + size]) for i in range(0, len(values), size)):
            return True
        at += 1 + 64 * size
    return False


def _is_padding(image: Image.Image, data: bytes, *, begin: int, stop: int) -> bool:
    """Whether these zeros are padding after the image data: they reach to the next marker, and no pixel needs them.

    Other bytes in their place tell: where image data are missing, libjpeg takes zeros for them, but these are read.
    """
    if data[begin:stop].strip(b"\0") or stop >= len(data) - 1:
        return False
    begin += data[begin - 1 : begin] == b"\xff"  # FF 00 is a byte of the image
    other = Image.open(io.BytesIO(data[:begin] + _OTHER + data[stop:]), formats=("JPEG",))
    return np.array_equal(np.asarray(other), np.asarray(image))


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


def reason_of_jpeg(data: bytes, error: Exception) -> str | None:
    """Why Pillow cannot open a whole JPEG: a coding that it does not know; None for others.

    Args:
        error: what Pillow raised.

    Source: ITU T.81, B.2.2 (frame header) and B.2.5 (number of lines); T.87 (JPEG-LS).
    """
    try:
        frame = next((start for marker, start, _ in segments(data) if marker in _FRAMES), None)
        if frame is None:
            return None
        bits, height = data[frame + 4], int(struct.unpack_from(">H", data, frame + 5)[0])
    except (struct.error, IndexError):
        return None
    if data[frame + 1] == _JPEG_LS:
        return "a JPEG-LS, which is not supported; save it as PNG"
    if 8 < bits <= 16:
        kind = "lossless JPEG" if data[frame + 1] in _LOSSLESS else "JPEG"
        return f"a {kind} of {bits} bits, which is not supported; save it as PNG of 16 bits, or as JPEG of 8"
    if bits == 8 and not height:
        return "a JPEG that states its height behind its pixels alone, which is not supported; save it again"
    return None


def _whole_quantisation(tables: bytes) -> bool:
    at = 0
    while at < len(tables):
        at += 1 + 64 * (2 if tables[at] >> 4 else 1)
    return at == len(tables)


def _whole_codes(tables: bytes) -> bool:
    at = 0
    while at < len(tables):
        at += 17 + sum(tables[at + 1 : at + 17])
    return at == len(tables)


_LENGTHS: dict[int, Callable[[bytes], bool]] = {
    0xDB: _whole_quantisation,  # B.2.4.1
    0xC4: _whole_codes,  # B.2.4.2
    0xDA: lambda header: len(header) == 4 + 2 * header[0],  # B.2.3
    **dict.fromkeys((0xC0, 0xC1, 0xC2), lambda header: len(header) == 6 + 3 * header[5]),  # B.2.2
}
"""Marker → whether the content of its segment, without the length, is as long as it says itself (ITU T.81)."""
