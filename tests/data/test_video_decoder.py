"""Damage that a decoder reports reaches the frames that it concerns; frames are upright and bounded."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drawn_film import write_film
from headstart.data import video_decoder
from headstart.data.video import Video, open_video
from headstart.data.video_decoder import decoded_frames, read_header
from headstart.errors import DataError

pytest.importorskip("av", reason="needs headstart[video]")


def _pictures(count: int) -> list[NDArray[np.uint8]]:
    """Photograph-like: smooth, and another one each time."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [np.kron(one, np.ones((16, 16, 1), np.uint8)) for one in small]


def _read(path: Path) -> tuple[dict[float, video_decoder.DecodedFrame], int]:
    """Its pictures by their time, and how many could not be decoded."""
    found = list(decoded_frames(path, 10.0))
    return {round(one.time, 3): one for one in found if one is not None}, sum(one is None for one in found)


def test_the_header_is_read_and_the_pictures_are_those_that_were_written(tmp_path: Path) -> None:
    drawn = _pictures(20)
    path = write_film(tmp_path / "film.mp4", drawn)

    facts = read_header(path)
    found, lost = _read(path)

    assert (facts.size, facts.frames, facts.rate) == ((128, 128), 20, 10.0)
    assert (len(found), lost) == (20, 0)
    for time, one in found.items():
        assert one.damage is None
        assert np.abs(one.rgb().astype(int) - drawn[round(10 * time)]).mean() < 12


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
@pytest.mark.parametrize("seed", range(4))
def test_no_picture_is_another_one_without_a_word(tmp_path: Path, suffix: str, seed: int) -> None:
    """Zeros within the data of a film: MPEG-4, whose pictures depend on each other, and motion JPEG."""
    path = write_film(tmp_path / f"film{suffix}", _pictures(40))
    whole, _ = _read(path)
    data = bytearray(path.read_bytes())
    at = int(np.random.default_rng(seed).integers(len(data) // 4, len(data) // 2))
    data[at : at + 3000] = bytes(3000)
    path.write_bytes(data)

    found, lost = _read(path)

    known = {one.rgb().tobytes() for one in whole.values()}  # at any time: a lost picture moves those behind it
    changed = {time for time, one in found.items() if one.rgb().tobytes() not in known}
    reported = {time for time, one in found.items() if one.damage is not None}
    assert changed <= reported
    assert reported or lost
    assert min(found) not in reported


def test_frames_that_cannot_be_decoded_are_counted_after_the_others(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.avi", _pictures(40))
    data = bytearray(path.read_bytes())
    second = data.find(b"\xff\xd8\xff", data.find(b"\xff\xd8\xff") + 3)
    data[second : second + 100] = bytes(100)  # its header
    path.write_bytes(data)
    frames = iter(open_video(path))

    assert [next(frames).damage for _ in range(4)] == [None] * 4
    with pytest.raises(DataError, match="1 frame of 40 cannot be decoded"):
        next(frames)


def test_pictures_are_upright_as_a_player_shows_them(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", [np.concatenate([one, one[:, :64]], axis=1) for one in _pictures(3)])
    (upright, *_), _ = _first(path)
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40  # the transformation of the track: a quarter turn, clockwise
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)

    (turned, *_), _ = _first(path)

    assert upright.shape == (128, 192, 3)
    assert np.array_equal(turned, np.rot90(upright, -1))


def _first(path: Path) -> tuple[list[NDArray[np.uint8]], int]:
    found, lost = _read(path)
    return [one.rgb() for one in found.values()], lost


def test_a_picture_larger_than_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "film.mp4", _pictures(3))
    monkeypatch.setattr(video_decoder, "MOST_PIXELS", 128 * 128 - 1)

    with pytest.raises(DataError, match="frames of 128×128 pixels"):
        read_header(path)
    with pytest.raises(DataError, match="not one frame that can be decoded"):
        list(Video(str(path), size=(128, 128), frames=3))


def test_a_film_of_sound_alone_has_no_pictures(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux([*stream.encode(sound), *stream.encode(None)])

    with pytest.raises(DataError, match="no frames that can be decoded"):
        open_video(tmp_path / "sound.mp4")
