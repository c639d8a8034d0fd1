"""predict on a film: the class of each frame at its time, in tables too."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from drawn_film import write_film
from headstart.classifier.predictions import Prediction
from headstart.data.video import Video
from headstart.errors import DataError, RecipeError
from headstart.workbench.run import Run
from headstart.workbench.video_frames import Sources


@pytest.fixture
def film(photos: Path, tmp_path: Path) -> Path:
    """Two seconds of a disc, then two of stripes, ten frames per second."""
    pictures = [np.asarray(Image.open(sorted((photos / name).iterdir())[0]).convert("RGB")) for name in _CLASSES]
    return write_film(tmp_path / "film.avi", [picture for picture in pictures for _ in range(20)])


_CLASSES = ("disc", "stripes")


@pytest.mark.slow
def test_each_frame_has_its_class_and_its_time(run: Run, film: Path, tmp_path: Path) -> None:
    predictions = hs.predict(run, film, every="500ms", csv=tmp_path / "p.csv", on_event=None)

    assert [p.label for p in predictions] == ["disc"] * 4 + ["stripes"] * 4
    assert [p.time for p in predictions] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    assert predictions[6].name == f"{film}@00:00:03.0"
    assert predictions.to_dict()["time"] == [p.time for p in predictions]
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["time"] for row in rows] == [f"{p.time:.3f}" for p in predictions]


@pytest.mark.slow
def test_a_film_among_images_keeps_its_place(run: Run, film: Path, photos: Path, tmp_path: Path) -> None:
    image = sorted((photos / "square").iterdir())[0]

    predictions = hs.predict(run, [image, film, image], frames=1, out=tmp_path / "p.json", on_event=None)

    assert [p.name for p in predictions] == [str(image), f"{film}@00:00:00.0", str(image)]
    assert [record["time"] for record in json.loads((tmp_path / "p.json").read_text())] == [None, 0.0, None]


@pytest.mark.slow
def test_frames_after_damage_say_so_up_to_the_next_key_frame(run: Run, photos: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [
        np.kron(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8)) for _ in range(40)
    ]
    film = write_film(tmp_path / "film.mp4", pictures)
    data = bytearray(film.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    film.write_bytes(data)
    image = sorted((photos / "square").iterdir())[0]

    first, *frames, last = hs.predict(run, [image, film, image], every="100ms", on_event=None)

    damaged = [frame.damaged is not None for frame in frames]
    assert not damaged[0]
    assert any(damaged)
    assert all(frame.damaged in (None, "damaged (reported by its decoder)") for frame in frames)
    assert (first.damaged, last.damaged) == (None, None)


@pytest.mark.slow
def test_a_film_that_breaks_off_has_a_last_row_with_the_reason(run: Run, film: Path, photos: Path) -> None:
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    image = sorted((photos / "square").iterdir())[0]

    predictions = hs.predict(run, [film, image], on_event=None)

    assert [p.time for p in predictions] == [0.0, 1.0, None, None]
    assert "breaks off" in str(predictions[2].error)
    assert predictions[3].name == str(image)


def test_options_of_videos_are_refused_without_one_and_copying_with_one(run: Run, film: Path, photos: Path) -> None:
    with pytest.raises(RecipeError, match="--every"):
        hs.predict(run, photos / "disc", every=2)
    with pytest.raises(RecipeError, match="--sort-into"):
        hs.predict(run, film, sort_into=film.parent / "sorted")


def test_a_pattern_stands_for_its_videos_too(run: Run, film: Path) -> None:
    predictions = hs.predict(run, film.parent / "*.avi", frames=1, on_event=None)
    assert [p.name for p in predictions] == [f"{film}@00:00:00.0"]


def test_large_frames_wait_in_smaller_numbers() -> None:
    small, large = Video("a.mp4", size=(640, 480)), Video("b.mp4", size=(7680, 4320))

    assert Sources(["x.jpg"]).batch_size(32) == 32
    assert Sources([small]).batch_size(32) == 32
    assert Sources([small, large]).batch_size(32) == 1
    assert Sources([Video("camera:0", size=(640, 480))]).batch_size(32) == 1


def test_a_film_without_a_frame_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(video: Video) -> object:
        raise DataError(expected="a whole video", found="nothing", where=video.source)

    monkeypatch.setattr(Video, "__iter__", nothing)
    sources = Sources(["x.jpg", Video("a.mp4")])

    with pytest.raises(DataError, match="nothing"):
        list(sources.answers(Prediction(str(one), "a", 1.0, {"a": 1.0}) for one in sources.images()))
