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
from headstart.data.bmp_damage import check_bmp, reason_of_bmp
from headstart.data.foreign_files import kind_of
from headstart.data.hevc_stream import hevc_damage
from headstart.data.jpeg_damage import ZEROS, check_jpeg, reason_of_jpeg
from headstart.data.lzw_codes import lzw_damage
from headstart.data.stored_pixels import Stored, ends_in_zeros, ppm_layout
from headstart.data.tiff_damage import check_tiff
from headstart.data.tiff_layout import unsupported_tiff
from headstart.wording import counted

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PNG_PALETTE = 3  # the colour type of indices
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG, and the steps to the next ones."""
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
_BLOCK = 1 << 20  # bytes that are unpacked at once
_PNG_CHECKED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")  # the chunks that decide the pixels
_PNG_TOO_LARGE = ("too large", "Too much memory")  # what Pillow says about texts and profiles
_BYTE, _WORD = 255, 65535
_LEAST_COVER = 0.25  # of its canvas, for the first frame of a GIF with transparency or animation
_VP8_PIXELS_PER_BYTE = 1000  # flat pictures of any size and quality have at most 565
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
    except ArithmeticError:  # tiles of no width, and sizes that no number holds
        return "damaged (a size in its header is impossible)"


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
        return kind_of(data)
    if heif.is_heif(data):
        if not heif.can_open():
            return heif.reason_of_missing()
        kind = heif.FORMAT
    kind = "AVIF" if data[4:8] == b"ftyp" and b"avif" in data[8:40] else kind
    return f"truncated or damaged (it begins as {kind}, but its header cannot be read)" if kind else kind_of(data)


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
    """The check of a whole file; see `_png_damage`."""
    return _png_damage(memoryview(data))


def _png_damage(data: memoryview) -> str | None:
    """Checksums of the chunks that decide pixels, their order, and the end chunk: Pillow checks none of them.

    Source: PNG specification, third edition, 5.3 (chunk layout) and 5.5 (CRC).
    """
    order, end = _PngOrder(data), 8
    for name, position, length in _png_chunks(data):
        end = position + 12 + length
        if name == b"CgBI":
            return "a PNG in Apple's own form for apps (CgBI), which is not supported; save it as an ordinary PNG"
        if name in _PNG_CHECKED and not _is_sound(data, position, length):
            return f"damaged (the checksum of its {name.decode()} chunk at byte {position:,} is wrong)"
        said = order.next(name, position, length)
        if said or name == b"IEND":
            return said
    return f"truncated or damaged (no valid PNG chunk at byte {end:,}, before the end of the image)"


class _PngOrder:
    """What a chunk must have before it: Pillow takes the last of two palettes, and image data up to another chunk.

    Source: PNG specification, third edition, 5.6 (chunk ordering), 11.2.2 (PLTE) and 11.3.6.2 (fcTL).
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._size, self._colour, self._colours = b"", 0, 0
        self._before = b""  # name of the chunk before
        self._has_pixels = False

    def next(self, name: bytes, position: int, length: int) -> str | None:
        """Damage that a chunk shows; None without."""
        before, self._before = self._before, name
        if name == b"IHDR" and not self._size:
            self._size, self._colour = bytes(self._data[position + 8 : position + 16]), self._data[position + 17]
        elif name == b"PLTE":
            if self._colours:
                return f"damaged (it has a second palette at byte {position:,})"
            self._colours = length // 3
        elif name == b"IDAT":
            return self._image_data(before, position, length)
        elif name == b"fcTL" and self._size and not self._has_pixels:  # frames after the first may be of any size
            width, height = struct.unpack_from(">II", self._data, position + 12)
            if struct.pack(">II", width, height) != self._size:
                return f"damaged (its first frame has {width}×{height} pixels, not those of its header)"
        return None

    def _image_data(self, before: bytes, position: int, length: int) -> str | None:
        if self._colour == _PNG_PALETTE and not self._colours:
            return "damaged (its pixels are indices of a palette, and the palette is missing)"
        if self._has_pixels and before != b"IDAT" and length:
            other = before.decode()
            return f"damaged (a chunk {other} lies inside its image data, which go on at byte {position:,})"
        self._has_pixels = True
        return None


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
    return _impossible_header(data)


def _impossible_header(data: bytes) -> str | None:
    """What a header states that PNG does not have; None for one that is possible.

    Source: PNG specification, third edition, 11.2.1 (IHDR).
    """
    if len(data) < 29 or data[12:16] != b"IHDR":
        return None
    width, height, depth, colour, _, filters, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if not width or not height:
        return f"damaged (its header says {width}×{height} pixels)"
    if depth not in _PNG_DEPTHS.get(colour, ()):
        return f"damaged (its header says {depth} bits and colours of type {colour}, which PNG does not have)"
    if filters or interlaced > 1:
        return "damaged (its header names a way of filtering or interlacing that PNG does not have)"
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
    behind = data[size:]
    if behind.strip(b"\0") and (behind[:4], behind[8:12]) != (b"RIFF", b"WEBP"):  # ImageMagick adds a second picture
        return f"damaged ({len(behind):,} bytes behind its stated end)"
    position = 12
    while position + 8 <= size:
        name, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > size:
            return f"truncated or damaged (its {name.decode('latin-1')!r} chunk ends behind the file)"
        if name == b"VP8L" and length > 2 * ZEROS and ends_in_zeros(data[: position + 8 + length]):
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


def _check_ppm(image: ImageFile.ImageFile, data: bytes) -> str | None:
    """A binary netpbm ends with its last pixel, or with the next image."""
    stored = ppm_layout(image, data)
    if stored and _largest(data, stored) > stored.most:
        return f"damaged (its header says that no value is above {stored.most}, and some are)"
    rest = data[stored.end :].strip() if stored else b""
    if rest and not rest.startswith(b"P"):
        return f"damaged ({counted(len(rest), 'byte')} behind its last pixel)"
    return None


def _largest(data: bytes, stored: Stored) -> int:
    """The largest value of a netpbm; 0 where the header allows all that fit."""
    if stored.most in (_BYTE, _WORD):
        return 0
    kind = np.dtype(">u2" if stored.most > _BYTE else np.uint8)
    values = np.frombuffer(data[stored.begin : stored.end], kind)
    return int(values.max(initial=0))


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
        if name == b"mdat" and size > 4 * ZEROS and ends_in_zeros(data[: position + size]):
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
    "TIFF": check_tiff,
    "BMP": check_bmp,
    "PPM": _check_ppm,
    "ICO": _check_ico,
    "JPEG2000": check_jpeg2000,
    "AVIF": _check_boxes,
    heif.FORMAT: _check_heif,
}
_REASONS: dict[str, Callable[[bytes, Exception], str | None]] = {
    "PNG": _reason_of_png,
    "JPEG": reason_of_jpeg,
    "BMP": reason_of_bmp,
}
"""Why Pillow cannot open a file of a format, where its structure tells."""
