"""Damage of image files that decoders pass over: each check reads the file's structure, or asks libjpeg what it saw.

A decoder fills what it cannot read with grey, black or the background and says nothing. Here the file itself is asked:
checksums, lengths, end marks, and whether there is data for the size that the header states. What leaves the structure
whole (a changed byte inside the data of an uncompressed image) cannot be seen by anyone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import ImageFile

from headstart.data import heif
from headstart.data.hevc_stream import hevc_damage
from headstart.data.jpeg_damage import ZEROS, check_jpeg, libjpeg_warning, reason_of_jpeg
from headstart.data.lzw_codes import lzw_damage
from headstart.data.stored_pixels import bmp_layout, ppm_layout
from headstart.data.tiff_layout import unsupported_tiff
from headstart.wording import counted

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PNG_PALETTE = 3  # the colour type of indices
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG, and the steps to the next ones."""
_BLOCK = 1 << 20  # bytes that are unpacked at once
_PNG_CHECKED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")  # the chunks that decide the pixels
_PNG_TOO_LARGE = ("too large", "Too much memory")  # what Pillow says about texts and profiles
_BYTE = 255
_LEAST_COVER = 0.25  # of its canvas, for the first frame of a GIF with transparency or animation
_VP8_PIXELS_PER_BYTE = 1000  # flat pictures of any size and quality have at most 565
_BMP_SURPLUS = 8  # bytes: some writers pad the file
_TIFF_DEFLATE = (8, 32946)
_TIFF_JPEG, _TIFF_LZW = 7, 5
_LEAST_FEEDS = 8  # line feeds: that each of so many random ones follows a carriage return happens once in 10¹⁹ files
_VARIED = 200  # of 256 values: what packed photographs of 2 kB hold; less is a plain surface
_RANDOM = ("JPEG", "MPO", "GIF", "WEBP", "AVIF", "HEIF", "JPEG2000")  # formats whose data are packed
_LZW = ("GIF", "TIFF")  # formats whose data may be LZW codes
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WEBP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}
_BROKEN = ("truncated", "broken data stream", "unrecognized data stream", "decoder error", "failed to read next frame")


def find_damage(image: ImageFile.ImageFile, data: bytes, *, checked: bool = False) -> str | None:
    """The reason why a file cannot be whole, for people; None when no damage is found.

    Args:
        image: opened, not yet decoded.
        data: the bytes of the file.
        checked: these very bytes were looked at before; what takes as long as decoding is left out.
    """
    check = _CHECKS.get(str(image.format))
    if check is None:
        return None
    try:
        said = _copied_as_text(data) if image.format in _RANDOM else None
        said = said or check(image, data)
        if image.format == "PNG" and not said and not checked:
            return _png_rows(data)
        return said if said or checked or image.format not in _LZW else lzw_damage(image, data)
    except (struct.error, IndexError, ValueError, TypeError, KeyError) as error:  # the structure breaks off
        return f"truncated or damaged (its structure breaks off: {error})"


def reason_of_unknown(data: bytes, error: Exception | None = None) -> str | None:
    """Why a file that begins like an image of a known format cannot be opened; None when it begins like none.

    Args:
        error: what Pillow raised.
    """
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if kind == "TIFF":
        return unsupported_tiff(data) or "truncated or damaged (its TIFF header cannot be read)"
    said = _REASONS[kind](data, error or ValueError()) if kind in _REASONS else None
    if said:
        return said
    if kind == "WEBP" and data[8:12] != b"WEBP":
        return None
    if heif.is_heif(data):
        if not heif.can_open():
            return heif.reason_of_missing()
        kind = heif.FORMAT
    kind = "AVIF" if data[4:8] == b"ftyp" and b"avif" in data[8:40] else kind
    return f"truncated or damaged (it begins as {kind}, but its header cannot be read)" if kind else None


def reason_of(error: Exception, formats: Iterable[str]) -> str:
    """What a decoder's error means, for people.

    Args:
        formats: that are known, for a file of none of them.
    """
    text = str(error)
    if text.startswith("unrecognized image mode") or "unknown pixel mode" in text:
        return f"pixels of a kind that is not supported ({text})"
    if "cannot identify image file" in text:
        return f"not an image of a known format ({', '.join(formats)})"
    if isinstance(error, (EOFError, SyntaxError)) or any(words in text for words in _BROKEN):
        return f"truncated or damaged ({text or type(error).__name__})"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    return f"cannot be decoded ({text or type(error).__name__})"


def _copied_as_text(data: bytes) -> str | None:
    """Damage of packed image data that went through a program for text, such as FTP in ASCII mode; None without.

    It puts a carriage return before each line feed, or in its place; random bytes hold each value once in 256. The data
    of a plain surface repeat a few bytes, and tell nothing.
    """
    feeds = data.count(b"\n")
    if feeds != data.count(b"\r\n") or 0 < feeds < _LEAST_FEEDS:
        return None
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)  # of each value of a byte
    if feeds and np.count_nonzero(counts) >= _VARIED:
        return "damaged (each line feed follows a carriage return: it was copied as text, as FTP does in ASCII mode)"
    if not feeds and np.delete(counts, ord("\n")).min() >= _LEAST_FEEDS:
        return "damaged (it holds no byte of a line feed: it was copied as text, as FTP does in ASCII mode)"
    return None


def _check_png(image: ImageFile.ImageFile, data: bytes) -> str | None:
    return _png_damage(memoryview(data))


def _png_damage(data: memoryview) -> str | None:
    """Checksums of the chunks that decide pixels, their palette, and the end chunk: Pillow checks none of them.

    Source: PNG specification, third edition, 5.3 (chunk layout), 5.5 (CRC), 11.2.2 (PLTE) and 11.3.6.2 (fcTL).
    """
    size, colour, palette, end = b"", 0, 0, 8
    for name, position, length in _png_chunks(data):
        end = position + 12 + length
        if name == b"CgBI":
            return "a PNG in Apple's own form for apps (CgBI), which is not supported; save it as an ordinary PNG"
        if name in _PNG_CHECKED and not _is_sound(data, position, length):
            return f"damaged (the checksum of its {name.decode()} chunk at byte {position:,} is wrong)"
        if name == b"IHDR" and not size:
            size, colour = bytes(data[position + 8 : position + 16]), data[position + 17]
        elif name == b"PLTE":
            palette = length // 3
        elif name == b"IDAT" and colour == _PNG_PALETTE and not palette:
            return "damaged (its pixels are indices of a palette, and the palette is missing)"
        elif name == b"fcTL" and size and bytes(data[position + 12 : position + 20]) != size:
            width, height = struct.unpack_from(">II", data, position + 12)
            return f"damaged (its first frame has {width}×{height} pixels, not those of its header)"
        elif name == b"IEND":
            return None
        if name == b"IDAT":
            size = b""  # frames after the first may be of any size
    return f"truncated or damaged (no valid PNG chunk at byte {end:,}, before the end of the image)"


def _png_chunks(data: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Name, position and length of each chunk that lies in the file, up to one that cannot be a chunk."""
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        if not name.isalpha() or position + 12 + length > len(data):
            return
        yield name, position, length
        position += 12 + length


def _is_sound(data: memoryview, position: int, length: int) -> bool:
    end = position + 8 + length
    return bool(zlib.crc32(data[position + 4 : end]) == struct.unpack_from(">I", data, end)[0])


def _png_rows(data: bytes) -> str | None:
    """Whether the stream of a PNG ends before its last row, or goes on for a row or more behind it.

    Source: PNG specification, third edition, 7.2 (scanlines), 8.1 (the seven passes of Adam7) and 11.2.1 (IHDR).
    """
    name, width, height, depth, colour, _, _, interlaced = struct.unpack_from(">4sIIBBBBB", data, 12)
    if name != b"IHDR" or colour not in _PNG_CHANNELS:
        return None  # the decoder decides
    bits = depth * _PNG_CHANNELS[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-((left - width) // across), -((top - height) // down)) for left, top, across, down in passes]
    wanted = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)
    row = 1 + (width * bits + 7) // 8
    found = _unpacked(data, most=wanted + row)
    if found is None:
        return None  # the decoder says so
    if found < wanted:
        return f"truncated ({found:,} of {wanted:,} bytes of image data)"
    if found >= wanted + row:  # less than a row: some writers end with a byte or two too many
        return f"damaged (its image data go on behind the {height:,} rows that its header states)"
    return None


def _unpacked(data: bytes, *, most: int) -> int | None:
    """Bytes that the image data unpack to, counted up to a bound; None where they cannot be unpacked."""
    found, inflate = 0, zlib.decompressobj()
    for kind, position, length in _png_chunks(memoryview(data)):
        packed = data[position + 8 : position + 8 + length] if kind == b"IDAT" else b""
        while packed and found < most:
            try:
                found += len(inflate.decompress(packed, _BLOCK))
            except zlib.error:
                return None
            packed = inflate.unconsumed_tail
        if found >= most or kind == b"IEND":
            break
    return found


def _reason_of_png(data: bytes, error: Exception) -> str | None:
    """Why Pillow cannot open a file that begins as a PNG, where its chunks tell; None where they do not.

    Args:
        error: what Pillow raised.
    """
    if any(words in str(error) for words in _PNG_TOO_LARGE):
        return "its texts or its colour profile take too much memory once unpacked; save it without them"
    for name, position, length in _png_chunks(memoryview(data)):
        if not _is_sound(memoryview(data), position, length):
            return f"damaged (the checksum of its {name.decode()} chunk at byte {position:,} is wrong)"
        if name == b"IEND":
            break
    return None


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
        if name == b"VP8L" and length > 2 * ZEROS and _ends_in_zeros(data[: position + 8 + length]):
            return "truncated or damaged (its image data end in zeros)"
        if name == b"VP8 ":
            head = int.from_bytes(data[position + 8 : position + 11], "little")
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, position + 14))
            if (head >> 5) + 10 > length:
                return "truncated or damaged (its first partition ends behind the image data)"
            if width * height > _VP8_PIXELS_PER_BYTE * length:
                return f"damaged (its {length:,} bytes cannot hold {width}×{height} pixels)"
            # even areas are zeros, about one byte for 560 pixels: more of them than pixels are no picture
            if bytes(max(ZEROS, 2 * width * height // 500)) in data[position + 8 : position + 8 + length]:
                return "damaged (its image data are zeros in between)"
        position += 8 + length + (length & 1)
    return None


def _ends_in_zeros(data: bytes) -> bool:
    return not any(data[-ZEROS:])


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
        if tables and (tables[:2], tables[-2:]) != (b"\xff\xd8", b"\xff\xd9"):
            return "damaged (the tables of its JPEG data are not whole)"
        whole = (tables[:-2] + part[2:] if tables else part for part in parts)  # without end mark, without start mark
        return next((said for said in (libjpeg_warning(part, colours) for part in whole) if said), None)
    if packing == _TIFF_LZW and any(_ends_in_zeros(part) for part in parts if len(part) > 2 * ZEROS):
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


def _check_bmp(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """As many bytes as its size needs, no more and no less."""
    stored = bmp_layout(image, data)
    if stored is None:
        return None  # run lengths: the decoder decides
    needed, found = stored.end - stored.begin, len(data) - stored.begin
    if found < needed:
        return f"truncated ({found:,} of {needed:,} bytes of image data)"
    if found - needed > _BMP_SURPLUS:
        return f"damaged ({found:,} bytes of image data, but {image.width}×{image.height} pixels need {needed:,})"
    return None


def _check_ppm(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """A binary netpbm ends with its last pixel, or with the next image."""
    stored = ppm_layout(image, data)
    if stored and stored.most < _BYTE and max(data[stored.begin : stored.end], default=0) > stored.most:
        return f"damaged (its header says that no value is above {stored.most}, and some are)"
    rest = data[stored.end :].strip() if stored else b""
    if rest and not rest.startswith(b"P"):
        return f"damaged ({counted(len(rest), 'byte')} behind its last pixel)"
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


def check_jpeg2000(image: ImageFile.ImageFile, data: bytes) -> str | None:
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
        if name == b"mdat" and size > 4 * ZEROS and _ends_in_zeros(data[: position + size]):
            return "truncated or damaged (its image data end in zeros)"
        if size < 8 or position + size > len(data):
            return f"truncated or damaged (its {name.decode('latin-1')!r} box ends behind the file)"
        position += size
    return None


def _check_heif(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """Every box lies in the file, and the units of the image data are whole."""
    said = _check_boxes(image, data)
    try:
        return said or hevc_damage(data)
    except (struct.error, IndexError, ValueError, KeyError):
        return None  # another structure than that of photographs: the decoder decides


_CHECKS: dict[str, Callable[[ImageFile.ImageFile, bytes], str | None]] = {
    "JPEG": check_jpeg,
    "MPO": check_jpeg,
    "PNG": _check_png,
    "GIF": _check_gif,
    "WEBP": _check_webp,
    "TIFF": _check_tiff,
    "BMP": _check_bmp,
    "PPM": _check_ppm,
    "ICO": _check_ico,
    "JPEG2000": check_jpeg2000,
    "AVIF": _check_boxes,
    heif.FORMAT: _check_heif,
}
_REASONS: dict[str, Callable[[bytes, Exception], str | None]] = {"PNG": _reason_of_png, "JPEG": reason_of_jpeg}
"""Why Pillow cannot open a file of a format, where its structure tells."""
