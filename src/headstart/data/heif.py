"""HEIC and HEIF photographs: recognised by their first bytes, opened by pillow-heif where that is installed.

Pillow has no decoder for HEVC. pillow-heif brings one in its wheel; its plugin is registered in Pillow when the first
such file is met, so that nobody else pays for the import. AVIF is a neighbour in the same container, and Pillow's own.
"""

from __future__ import annotations

import functools
import struct

FORMAT = "HEIF"
"""Pillow's name of the format."""
INSTALL = 'pip install "headstart[heic]"'

_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
)  # ISO/IEC 23008-12, annex B
_GENERAL = (b"mif1", b"msf1")  # a picture of any codec: the compatible brands say which
_AVIF = frozenset((b"avif", b"avis"))
_MOST_BRANDS = 64  # bytes of the first box that are looked at


def is_heif(data: bytes) -> bool:
    """Whether a file that begins with these bytes holds a picture coded with HEVC, by the brands of its first box.

    Source: ISO/IEC 14496-12, 4.3 (ftyp); 23008-12, 10.2 (mif1).
    """
    if data[4:8] != b"ftyp":
        return False
    major = data[8:12]
    if major not in _GENERAL:
        return major in _BRANDS
    (size,) = struct.unpack_from(">I", data)
    compatible = {data[i : i + 4] for i in range(16, min(size, _MOST_BRANDS, len(data)), 4)}
    return not compatible & _AVIF


@functools.cache
def can_open() -> bool:
    """Whether HEIF can be opened; registers pillow-heif in Pillow the first time."""
    try:
        import pillow_heif
    except ImportError:  # not installed, or its library does not fit this system
        return False
    pillow_heif.register_heif_opener()
    return True


def reason_of_missing() -> str:
    """Why a HEIF file cannot be opened here, for people."""
    return f"a HEIC photograph, which needs pillow-heif: {INSTALL}"
