"""Whether the CCITT codes of a TIFF (fax) are those of the picture that they decode to.

libtiff decodes a changed code to other pixels, fills up rows and says nothing. But a row of black and white has one
coding only, so the decoded picture is coded again: where the bytes are the same for a while and then are not, they have
been changed since. A writer with habits of its own, such as filling up each row, differs from the first bytes on, and
nothing is said.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageChops, TiffImagePlugin

_PACKINGS = {2: "tiff_ccitt", 3: "group3", 4: "group4"}
_LEAST_SAME = 100  # bytes that show that the writer codes as libtiff does
_END = 8  # bytes: marks of the end and padding, which are a matter of taste
_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_COMPRESSION, _WHITE, _ORDER, _ORIENTATION, _ROWS, _OPTIONS = 259, 262, 266, 274, 278, 292  # tags of TIFF 6.0


def fax_suspicion(image: Image.Image, data: bytes) -> str | None:
    """Why the codes are probably damaged, for people; None where they are those of the picture, or of another kind.

    Args:
        image: a decoded TIFF. data: the bytes of its file.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(_COMPRESSION) not in _PACKINGS or image.mode != "1" or tags.get(_ORIENTATION, 1) != 1:
        return None
    found = _strips(tags, data)
    again = _coded_again(image, tags)
    if len(found) != len(again):
        return None
    same = 0
    for one, other in zip(found, again, strict=True):
        first = _first_difference(one, other)
        if first is not None and min(len(one), len(other)) - first > _END:
            is_usual = same + first >= _LEAST_SAME
            return "possibly damaged (its fax codes are not those of the picture that they make)" if is_usual else None
        same += len(one)
    return None


def _strips(tags: TiffImagePlugin.ImageFileDirectory_v2, data: bytes) -> list[bytes]:
    strips = [data[offset : offset + count] for offset, count in zip(tags[273], tags[279], strict=True)]
    return [strip.translate(_MIRRORED) for strip in strips] if tags.get(_ORDER, 1) == 2 else strips


def _coded_again(image: Image.Image, tags: TiffImagePlugin.ImageFileDirectory_v2) -> list[bytes]:
    """The strips of the same picture as libtiff codes them, with the same rows in each."""
    picture = ImageChops.invert(image) if tags.get(_WHITE) == 0 else image
    options = TiffImagePlugin.ImageFileDirectory_v2()
    options[_ROWS] = min(int(tags.get(_ROWS, image.height)), image.height)
    if tags[_COMPRESSION] == 3:
        options[_OPTIONS] = int(tags.get(_OPTIONS, 0))
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", compression=_PACKINGS[tags[_COMPRESSION]], tiffinfo=options)
    data = buffer.getvalue()
    coded = TiffImagePlugin.ImageFileDirectory_v2(data[:8])  # only read: nothing is opened, whatever its size
    buffer.seek(coded.next)
    coded.load(buffer)
    return _strips(coded, data)


def _first_difference(one: bytes, other: bytes) -> int | None:
    """Place of the first byte that differs, up to the end of the shorter one."""
    count = min(len(one), len(other))
    differs = np.frombuffer(one, np.uint8, count) != np.frombuffer(other, np.uint8, count)
    return int(differs.argmax()) if differs.any() else None
