"""Videos: the frames at the times that are asked for, in their colours; what is no video is refused with its reason."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drawn_film import write_film
from headstart.data import video
from headstart.data.video import Video, is_video, open_video, seconds_of
from headstart.errors import DataError, RecipeError


def _grey(level: int) -> NDArray[np.uint8]:
    return np.full((48, 64, 3), level, np.uint8)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Three seconds at ten frames per second; frame i has the grey level 8 i."""
    return write_film(tmp_path / "film.mp4", (_grey(8 * i) for i in range(30)))


@pytest.mark.parametrize(
    ("every", "times"),
    [(1.0, [0.0, 1.0, 2.0]), ("500ms", [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]), ("1.2s", [0.0, 1.2, 2.4]), (60, [0.0])],
)
def test_frames_are_those_of_the_times_that_are_asked_for(film: Path, every: float | str, times: list[float]) -> None:
    opened = open_video(film, every)
    frames = list(opened)

    assert [round(frame.time, 3) for frame in frames] == times
    assert opened.expected == len(times)
    assert [frame.name for frame in frames] == [f"{film}@00:00:0{time:.1f}" for time in times]
    for frame in frames:  # the right picture, to the error of the codec
        assert frame.rgb.shape == (48, 64, 3)
        assert abs(float(frame.rgb.mean()) - 80 * frame.time) < 4


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 220

    (frame,) = open_video(write_film(tmp_path / "red.avi", [red]))

    assert np.abs(frame.rgb.astype(int) - red).max() < 12


def test_no_more_frames_than_asked_for_are_read(film: Path) -> None:
    assert [frame.time for frame in open_video(film, 0.1, most=2)] == [0.0, 0.1]
    assert open_video(film, 0.1, most=2).expected == 2


def test_names_of_frames_closer_than_a_tenth_of_a_second_differ(tmp_path: Path) -> None:
    film = write_film(tmp_path / "fast.mp4", (_grey(8 * i) for i in range(10)), rate=50)

    names = [frame.name for frame in open_video(film, "20ms")]

    assert len(set(names)) == 10
    assert names[1].endswith("@00:00:00.020")


def test_a_film_that_breaks_off_gives_its_frames_and_then_says_so(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "whole.avi", _noise(50)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])

    frames, reason = _until_it_breaks(open_video(tmp_path / "cut.avi"))

    assert [frame.time for frame in frames] == [0.0, 1.0, 2.0]
    assert re.search(r"it breaks off at 00:00:02\.\d of 00:00:05\.0", reason)


def _noise(count: int) -> list[NDArray[np.uint8]]:
    """Pictures that take as many bytes each."""
    return list(np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8))


def _until_it_breaks(opened: Video) -> tuple[list[video.Frame], str]:
    frames: list[video.Frame] = []
    try:
        for frame in opened:
            frames.append(frame)
    except DataError as error:
        return frames, str(error)
    return frames, ""


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"only text\n", "does not begin like one"),
        (b"#EXTM3U\nhttp://example.org/film.ts\n", "does not begin like one"),  # FFmpeg would follow it
        (b"\0\0\0\x18ftypisom" + bytes(2000), "a damaged file"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    if content.startswith(b"\0"):
        pytest.importorskip("av", reason="needs headstart[video]")
    (tmp_path / "film.mp4").write_bytes(content)

    with pytest.raises(DataError, match=found):
        open_video(tmp_path / "film.mp4")


def test_a_missing_file_and_a_missing_camera_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        open_video(tmp_path / "none.mp4")
    pytest.importorskip("cv2", reason="needs headstart[video]")
    with pytest.raises(DataError, match="none with the number 97"):
        open_video("camera:97")


class PretendedCamera:
    """What OpenCV gives of a camera: blue, green, red in this order, at any time, without an end."""

    opened: list[int] = []  # noqa: RUF012
    released = 0

    def __init__(self, number: int) -> None:
        self.opened.append(number)

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, number: int) -> float:
        return {3: 64.0, 4: 48.0, 5: 30.0}.get(number, -1.0)

    def grab(self) -> bool:
        return True

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, np.broadcast_to(np.array([10, 20, 200], np.uint8), (48, 64, 3))

    def release(self) -> None:
        PretendedCamera.released += 1


@pytest.mark.slow
def test_a_camera_gives_red_green_blue_until_enough_frames_came(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs headstart[video]")
    monkeypatch.setattr(cv2, "VideoCapture", PretendedCamera)

    camera = open_video("camera:1", "50ms", 3)
    frames = list(camera)

    assert camera.is_camera
    assert camera.size == (64, 48)
    assert [frame.rgb[0, 0].tolist() for frame in frames] == [[200, 20, 10]] * 3
    assert all(frame.time >= 0.049 * i for i, frame in enumerate(frames))
    assert all(frame.name.startswith("camera:1@00:00:00.") for frame in frames)
    assert set(PretendedCamera.opened) == {1}
    assert PretendedCamera.released == len(PretendedCamera.opened)


def test_without_the_packages_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(200))

    for source in (tmp_path / "film.mp4", "camera:0"):
        with pytest.raises(DataError, match=r"headstart\[video\]"):
            open_video(source)


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1.0), ("500ms", 0.5), ("2min", 120.0), ("1.5", 1.5), (3, 3.0)])
def test_a_time_between_frames_is_read(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "1h", "-1s", "0", "0ms", 0, -2.0, float("nan"), True, "one"])
def test_another_time_is_refused(text: str | float) -> None:
    with pytest.raises(RecipeError, match="1s, 500ms or 2min"):
        seconds_of(text)


def test_videos_are_known_by_their_names() -> None:
    assert [is_video(name) for name in ("a.MP4", Path("b.avi"), "camera:0", "camera:x", "c.jpg", b"d.mp4", 3)] == [
        True, True, True, False, False, False, False,
    ]  # fmt: skip


class _Camera:
    """OpenCV's capture of a camera that gives three frames and is then unplugged."""

    def __init__(self) -> None:
        self.left, self.released = 3, False

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, _grey(9)

    def release(self) -> None:
        self.released = True


def test_a_camera_goes_by_the_clock_and_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, clock = _Camera(), iter([100.0, 100.0, 100.4, 101.1])
    monkeypatch.setattr(video, "_open_camera", lambda source: camera)
    monkeypatch.setattr(video.time, "monotonic", lambda: next(clock))

    frames, reason = _until_it_breaks(replace(Video("camera:0"), size=(64, 48)))

    assert "breaks off at 00:00:01.1" in reason
    assert [frame.name for frame in frames] == ["camera:0@00:00:00.0", "camera:0@00:00:01.1"]
    assert camera.released


def test_a_device_is_no_video(tmp_path: Path) -> None:
    """Nor a pipe, which would wait for ever; /dev/null ends."""
    (tmp_path / "film.mp4").symlink_to("/dev/null")

    with pytest.raises(DataError, match="a device, not a file"):
        open_video(tmp_path / "film.mp4")
