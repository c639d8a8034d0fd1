"""Frames of a video file or camera as images, one after another: `film.mp4@00:00:03.0`, H×W×3 uint8 RGB.

PyAV decodes files and OpenCV reads cameras (`headstart[video]`). Only files that begin like a video are decoded:
FFmpeg would also follow playlists, which name other files and addresses. A frame is converted only where it is used,
and none is kept.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.video_decoder import INSTALL, USUAL_RATE, DecodedFrame, decoded_frames, read_header
from headstart.errors import DataError, RecipeError
from headstart.untrusted import check_regular
from headstart.wording import counted

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv", ".3gp")
_STARTS = (  # first bytes of the containers
    rb"....(?:ftyp|moov|mdat|wide|free|skip)", rb"RIFF....AVI ", rb"\x1aE\xdf\xa3", rb"\0\0\x01[\xb3\xba]",
    rb"G.{187}G", rb"0&\xb2u", rb"FLV", rb"OggS",
)  # fmt: skip
_CAMERA = re.compile(r"camera:(\d{1,3})")
_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min)?\s*")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, None: 1.0}
_CUT_SHARE = 0.95  # of the frames that the header states: fewer, and the file breaks off; some headers count roughly
_EARLY = 1e-6  # seconds: times are rounded


@dataclass(frozen=True)
class Frame:
    """A picture of a video.

    Args:
        name: `film.mp4@00:00:03.0`. time: seconds since the first frame. rgb: H×W×3 uint8.
        damage: what the decoder of a film reports of it; None: nothing.
    """

    name: str
    time: float
    rgb: NDArray[np.uint8]
    damage: str | None = None


@dataclass(frozen=True)
class Video:
    """A video that can be opened, and which of its frames are used.

    Args:
        source: the path as it was given, or `camera:0`.
        every: seconds between two frames; the first one is always used.
        most: frames that are used at most; None: all of a file, of a camera without end.
        size: width and height in pixels.
        frames: that the file states; 0: unknown, or a camera.
        rate: frames per second.
    """

    source: str
    every: float = 1.0
    most: int | None = None
    size: tuple[int, int] = (0, 0)
    frames: int = 0
    rate: float = USUAL_RATE

    @property
    def is_camera(self) -> bool:
        """Whether it is a camera, which has no end."""
        return _CAMERA.fullmatch(self.source) is not None

    @property
    def expected(self) -> int:
        """How many frames will be used, about; 0: nobody knows."""
        found = math.ceil(self.frames / self.rate / max(self.every, 1 / self.rate) - _EARLY) if self.frames else 0
        return min(found, self.most) if found and self.most else found or self.most or 0

    @property
    def frame_bytes(self) -> int:
        """Memory of one frame."""
        return 3 * self.size[0] * self.size[1]

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order; memory does not grow with their number.

        Raises:
            DataError: not one frame can be decoded, or the file breaks off, after the frames before.
        """
        target, used, seen, lost, at = 0.0, 0, 0, 0, 0.0
        source = self.source
        with contextlib.closing(
            _camera_frames(source) if self.is_camera else decoded_frames(Path(source), self.rate)
        ) as decoded:
            for one in decoded:
                seen += 1
                if one is None:
                    lost += 1
                    continue
                at = one.time
                if at < target - _EARLY:
                    continue
                used += 1
                target = (math.floor((at + 2 * _EARLY) / self.every) + 1) * self.every  # a frame is never early twice
                yield Frame(self._name(at), at, one.rgb(), one.damage)
                if used == self.most:
                    return
        if not used:
            raise self._broken("not one frame that can be decoded", "Play it to see whether it is whole.")
        if self.is_camera or seen < _CUT_SHARE * self.frames:
            stated = "" if self.is_camera else f" of {_clock(self.frames / self.rate, 1)}"
            raise self._broken(f"it breaks off at {_clock(at, 1)}{stated}", "The frames before have their predictions.")
        if lost:
            raise self._broken(f"{counted(lost, 'frame')} of {seen:,} cannot be decoded", "Copy or convert it again.")

    def _name(self, at: float) -> str:
        digits = 1 if abs(self.every * 10 - round(self.every * 10)) < _EARLY and self.every >= 0.1 else 3
        return f"{self.source}@{_clock(at, digits)}"

    def _broken(self, found: str, hint: str) -> DataError:
        return DataError(expected="a whole video", found=found, where=self.source, hint=hint)


_FRAME_WIDTH, _FRAME_HEIGHT = 3, 4  # OpenCV's numbers of these properties


def is_video(source: object) -> bool:
    """Whether this names a video file, by its suffix, or a camera, as `camera:0`."""
    name = os.fspath(source).lower() if isinstance(source, (str, os.PathLike)) else ""
    return isinstance(name, str) and (name.endswith(SUFFIXES) or _CAMERA.fullmatch(name) is not None)


def open_video(source: str | os.PathLike[str], every: float | str | None = None, most: int | None = None) -> Video:
    """A video file or camera whose header could be read.

    Args:
        source: a path, or `camera:0`.
        every: seconds between two frames, or a text such as `1s`, `500ms`; None: 1 second.
        most: frames that are used at most.

    Raises:
        DataError: it is missing, empty, no video, too large, or OpenCV is not installed.
        RecipeError: `every` or `most` cannot be used.
    """
    if most is not None and (not isinstance(most, int) or most < 1):
        raise RecipeError(
            expected="a whole number of at least 1",
            found=repr(most),
            where="--frames",
            hint="Leave the option out for all frames.",
        )
    video = Video(os.fspath(source), seconds_of(1.0 if every is None else every), most)
    if video.is_camera:
        return replace(video, size=_camera_size(video.source))
    _check_start(Path(video.source))
    facts = read_header(Path(video.source))
    return replace(video, size=facts.size, rate=facts.rate, frames=facts.frames)


def seconds_of(every: float | str) -> float:
    """A time between two frames in seconds, from a number of seconds or a text such as `2`, `1s`, `500ms`, `2min`.

    Raises:
        RecipeError: it is neither, or not above zero.
    """
    found = _DURATION.fullmatch(every) if isinstance(every, str) else None
    if found:
        seconds = float(found[1]) * _SECONDS[found[2]]
    else:
        seconds = float(every) if isinstance(every, (int, float)) and not isinstance(every, bool) else math.nan
    if not 0.001 <= seconds < 1e6:  # False for nan
        raise RecipeError(
            expected="a time between two frames such as 1s, 500ms or 2min",
            found=repr(every),
            where="--every",
            hint="Write a number and its unit; without the option a frame is taken each second.",
        )
    return seconds


def _check_start(path: Path) -> None:
    try:
        check_regular(path)  # a pipe would wait for ever
        with path.open("rb") as file:
            head = file.read(189)  # two packets of a transport stream
    except (OSError, ValueError) as error:  # ValueError: NUL in a name, or no regular file
        found = getattr(error, "strerror", None) or str(error)
        raise DataError(
            expected="a video file",
            found=found,
            where=path,
            hint="Check the path and its permissions.",
        ) from error
    if not head:
        raise DataError(
            expected="a video file", found="an empty file (0 bytes)", where=path, hint="Copy or record it again."
        )
    if not any(re.match(start, head, re.DOTALL) for start in _STARTS):
        raise DataError(
            expected="a video file",
            found="a file that does not begin like one",
            where=path,
            hint="Give an image the suffix of its format; convert other videos to .mp4.",
        )


def _camera_frames(source: str) -> Generator[DecodedFrame]:
    """Frames of a camera by the clock, until it gives no more."""
    camera, began = _open_camera(source), time.monotonic()
    try:
        while camera.grab():
            yield DecodedFrame(time.monotonic() - began, lambda: _frame_of(camera, source))
    finally:
        camera.release()


def _frame_of(camera: Any, source: str) -> NDArray[np.uint8]:
    got, bgr = camera.retrieve()
    if not got:
        raise DataError(expected="a frame of the camera", found="none", where=source, hint="Is it still connected?")
    return np.ascontiguousarray(bgr[..., ::-1])


def _camera_size(source: str) -> tuple[int, int]:
    camera = _open_camera(source)
    try:
        return int(camera.get(_FRAME_WIDTH)), int(camera.get(_FRAME_HEIGHT))
    finally:
        camera.release()


def _open_camera(source: str) -> Any:
    """OpenCV's capture of a camera."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # what it prints comes back as our errors
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            expected="OpenCV, which reads cameras", found="not installed", where=source, hint=INSTALL
        ) from error
    number = source.removeprefix("camera:")
    try:
        camera = cv2.VideoCapture(int(number))
    except cv2.error as error:
        raise DataError(
            expected="a camera",
            found=str(error),
            where=source,
            hint="Check that it is there and that no other program uses it.",
        ) from error
    if not camera.isOpened():
        camera.release()
        hint = "Is it connected, allowed, and not in use by another program? camera:0 is the first one."
        raise DataError(expected="a camera", found=f"none with the number {number}", where=source, hint=hint)
    return camera


def _clock(seconds: float, digits: int) -> str:
    """`00:00:03.0`: hours, minutes and seconds."""
    ticks = round(seconds * 10**digits)
    whole, part = divmod(ticks, 10**digits)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{part:0{digits}}"
