"""Pictures of a film file, decoded by PyAV, and what its decoder reports as damaged.

PyAV brings FFmpeg along and passes on what its decoder notices; OpenCV, which reads the cameras, does not: half of 210
damaged films gave other pictures through it without a word. A picture is converted only where it is used.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.images import BadImage, ImageRules, open_image
from headstart.errors import DataError

INSTALL = 'pip install "headstart[video]"'
MOST_PIXELS = 36_000_000  # of a picture: 8192×4320, the largest that films and cameras have

_USUAL_RATE = 25.0  # pictures per second, where a file states none that can be
_OWN_PICTURES = ("mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "png", "dvvideo")
"""Codecs whose pictures do not depend on each other; they report damage only where they may give up the picture."""

_TABLES = b"\xff\xc4"  # some cameras leave out the Huffman tables that each JPEG needs: all of them have the same
_LENIENT = ImageRules(keep_damaged=True)


@dataclass(frozen=True)
class FilmFacts:
    """What the header of a film states.

    Args:
        size: width and height in pixels. frames: 0 where it is unknown. rate: frames per second.
    """

    size: tuple[int, int]
    frames: int
    rate: float


@dataclass(frozen=True)
class Picture:
    """A picture that can be had.

    Args:
        time: seconds since the first one. rgb: gives its pixels, H×W×3 uint8.
        reported: what the decoder reports of it; None: nothing. jpeg: the file that it is in motion JPEG, else empty.
    """

    time: float
    rgb: Callable[[], NDArray[np.uint8]]
    reported: str | None = None
    jpeg: bytes = b""

    @property
    def damage(self) -> str | None:
        """Why the picture cannot be whole; None where nothing is found. Of a motion JPEG its file is checked."""
        if self.reported or _TABLES not in self.jpeg:
            return self.reported
        try:
            image = open_image(self.jpeg, _LENIENT)
        except BadImage as bad:
            return bad.reason
        return image.damage or image.suspicion


def film_facts(path: Path) -> FilmFacts:
    """The header of a film.

    Raises:
        DataError: it cannot be opened or holds no pictures, its pictures are too large, or PyAV is not installed.
    """
    with _opened(path) as film:
        stream = film.streams.video[0]
        size = (int(stream.codec_context.width), int(stream.codec_context.height))
        rate = float(stream.average_rate or 0)
        seconds = float((stream.duration or 0) * (stream.time_base or 0)) or (film.duration or 0) / 1e6
        stated = int(stream.frames)
    if not 0 < size[0] * size[1] <= MOST_PIXELS:
        raise DataError(
            expected=f"frames of at most {MOST_PIXELS:,} pixels",
            found=f"frames of {size[0]}×{size[1]} pixels",
            where=path,
            hint="Save it smaller.",
        )
    rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else _USUAL_RATE
    frames = stated or round(seconds * rate)
    return FilmFacts(size, frames if 0 < frames < 1e9 else 0, rate)


def film_pictures(path: Path, rate: float) -> Generator[Picture | None]:
    """All pictures of a film, in order, as far as it can be read; None in place of one that cannot be decoded.

    After damage all pictures up to the next key frame count as damaged: they are made of those before.

    Args:
        rate: pictures per second, for those without a time.

    Raises:
        DataError: as `film_facts`.
    """
    av = _av(path)
    with _opened(path) as film:
        stream = film.streams.video[0]
        stands_alone = stream.codec_context.name in _OWN_PICTURES
        stream.thread_type = "NONE" if stands_alone else "AUTO"  # so that a packet gives its own picture
        strict = {"err_detect": "crccheck+bitstream+buffer+explode"} if stands_alone else {}
        # a later picture may be larger than the header states
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS), **strict}
        is_jpeg = stream.codec_context.name == "mjpeg"
        begin: float | None = None
        damage: str | None = None
        for number, (packet, frame, reported) in enumerate(_decoded(av, film, stream)):
            damage = reported if reported or frame.key_frame else damage
            if frame is None:
                yield None
                continue
            stated = number / rate if frame.time is None else float(frame.time)
            begin = stated if begin is None else begin
            jpeg = bytes(packet) if is_jpeg else b""
            yield Picture(stated - begin, functools.partial(_upright, frame), damage, jpeg)


def _upright(frame: Any) -> NDArray[np.uint8]:
    """H×W×3 as a player shows it."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _decoded(av: Any, film: Any, stream: Any) -> Iterator[tuple[Any, Any, str | None]]:
    """Packet, picture and what is reported of it; None in place of a picture that cannot be decoded."""
    packets = film.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):  # where it breaks off, its pictures are too few
            return
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            yield packet, None, f"damaged (its decoder: {error.strerror or error})"
            continue
        for frame in frames:
            is_damaged = frame.is_corrupt or packet.is_corrupt
            yield packet, frame, "damaged (reported by its decoder)" if is_damaged else None


def _av(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise DataError(expected="PyAV, which reads videos", found="not installed", where=path, hint=INSTALL) from error
    return av


def _opened(path: Path) -> Any:
    """The container of a film with pictures; to be closed."""
    av = _av(path)
    hint = "Play it to see whether it is whole; .mp4 with H.264 is always supported."
    try:
        # no protocol but that of files: a container may name others
        film = av.open(str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        found = "a damaged file, or a codec that is not supported"
        raise DataError(expected="a video that can be opened", found=found, where=path, hint=hint) from error
    if not film.streams.video or film.streams.video[0].codec_context is None:
        film.close()
        found = "no pictures that can be decoded"
        raise DataError(expected="a video that can be opened", found=found, where=path, hint=hint)
    return film
