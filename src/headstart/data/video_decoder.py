"""Frames of a video file, decoded by PyAV, and the damage that its decoder reports.

PyAV brings FFmpeg along and passes on what its decoder notices. OpenCV, which reads the cameras, does not: of 210
damaged videos 96 gave other frames through it without a word. A frame is converted to RGB only where it is used.
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
MOST_PIXELS = 36_000_000  # of a frame: 8192×4320, the largest that videos and cameras have
USUAL_RATE = 25.0  # frames per second, where a file states none that can be, and of a camera
_INTRA_ONLY = ("mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "png", "dvvideo")
"""Codecs whose frames do not depend on each other; they report damage only where they may give up the frame."""

_TABLES = b"\xff\xc4"  # some cameras leave out the Huffman tables that each JPEG needs: all of them have the same
_LENIENT = ImageRules(keep_damaged=True)


@dataclass(frozen=True)
class VideoHeader:
    """What the header of a video states.

    Args:
        size: width and height in pixels. frames: 0 where it is unknown. rate: frames per second.
    """

    size: tuple[int, int]
    frames: int
    rate: float


@dataclass(frozen=True)
class DecodedFrame:
    """A frame whose pixels can be had.

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
        """Why the frame cannot be whole; None where nothing is found. A frame of motion JPEG is checked as a file."""
        if self.reported or _TABLES not in self.jpeg:
            return self.reported
        try:
            image = open_image(self.jpeg, _LENIENT)
        except BadImage as bad:
            return bad.reason
        return image.damage or image.suspicion


def read_header(path: Path) -> VideoHeader:
    """The header of a video.

    Raises:
        DataError: it cannot be opened or holds no frames, its frames are too large, or PyAV is not installed.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        size = (int(stream.codec_context.width), int(stream.codec_context.height))
        rate = float(stream.average_rate or 0)
        seconds = float((stream.duration or 0) * (stream.time_base or 0)) or (container.duration or 0) / 1e6
        stated = int(stream.frames)
    if not 0 < size[0] * size[1] <= MOST_PIXELS:
        raise DataError(
            expected=f"frames of at most {MOST_PIXELS:,} pixels",
            found=f"frames of {size[0]}×{size[1]} pixels",
            where=path,
            hint="Save it smaller.",
        )
    rate = rate if math.isfinite(rate) and 0 < rate <= 1000 else USUAL_RATE
    frames = stated or round(seconds * rate)
    return VideoHeader(size, frames if 0 < frames < 1e9 else 0, rate)


def decoded_frames(path: Path, rate: float) -> Generator[DecodedFrame | None]:
    """All frames of a video, in order, as far as it can be read; None in place of one that cannot be decoded.

    After damage all frames up to the next key frame count as damaged: they are made of those before.

    Args:
        rate: frames per second, for those without a time.

    Raises:
        DataError: as `read_header`.
    """
    av = _av(path)
    with _opened(path) as container:
        stream = container.streams.video[0]
        intra_only = stream.codec_context.name in _INTRA_ONLY
        stream.thread_type = "NONE" if intra_only else "AUTO"  # so that a packet gives its own frame
        strict = {"err_detect": "crccheck+bitstream+buffer+explode"} if intra_only else {}
        # a later frame may be larger than the header states
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS), **strict}
        is_jpeg = stream.codec_context.name == "mjpeg"
        begin: float | None = None
        damage: str | None = None
        for number, (packet, frame, reported) in enumerate(_decoded(av, container, stream)):
            damage = reported if reported or frame.key_frame else damage
            if frame is None:
                yield None
                continue
            stated = number / rate if frame.time is None else float(frame.time)
            begin = stated if begin is None else begin
            jpeg = bytes(packet) if is_jpeg else b""
            yield DecodedFrame(stated - begin, functools.partial(_upright, frame), damage, jpeg)


def _upright(frame: Any) -> NDArray[np.uint8]:
    """H×W×3 as a player shows it."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _decoded(av: Any, container: Any, stream: Any) -> Iterator[tuple[Any, Any, str | None]]:
    """Packet, frame and what is reported of it; None in place of a frame that cannot be decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):  # where it breaks off, its frames are too few
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
    """The container of a video with frames; to be closed."""
    av = _av(path)
    hint = "Play it to see whether it is whole; .mp4 with H.264 is always supported."
    try:
        # no protocol but that of files: a container may name others
        container = av.open(str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        found = "a damaged file, or a codec that is not supported"
        raise DataError(expected="a video that can be opened", found=found, where=path, hint=hint) from error
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        found = "no frames that can be decoded"
        raise DataError(expected="a video that can be opened", found=found, where=path, hint=hint)
    return container
