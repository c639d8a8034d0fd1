"""Session: what it makes is made once, cached, and reported."""

from __future__ import annotations

import os
import queue
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from headstart.backbones.backbone import load_backbone
from headstart.backbones.low_precision import LowPrecision
from headstart.data import image_index
from headstart.data.images import open_image
from headstart.errors import BackboneError, DataError, RecipeError
from headstart.progress import Detail, Event, Notice, Progress, Working
from headstart.recipe import Recipe
from headstart.workbench.session import Session


def test_options_change_the_recipe_and_unknown_ones_are_refused() -> None:
    assert Session(Recipe(seed=3), {"batch_size": 8}).recipe == Recipe(seed=3, batch_size=8)
    with pytest.raises(RecipeError, match="Did you mean batch_size"):
        Session(options={"bacth_size": 8})


@pytest.mark.slow
def test_cached_images_are_neither_read_nor_decoded_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = image_index._file_key  # as where the system's time of change tells nothing
    monkeypatch.setattr(image_index, "_file_key", lambda path: key(path)._replace(ctime_ns=0))  # type: ignore[union-attr]
    folder = shutil.copytree(photos, tmp_path / "set")
    backbone = load_backbone("embedded")
    first = Session()
    expected = first.features(first.feature_job(first.dataset(folder), backbone)).features.matrix.copy()
    for path in folder.rglob("*.png"):  # same path, size and time, but no image any more: reading one would fail
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    again = Session()
    job = again.feature_job(again.dataset(folder), backbone)
    extracted = again.features(job)

    assert job.waiting == extracted.extraction.computed == 0
    np.testing.assert_array_equal(extracted.features.matrix, expected)


@pytest.mark.slow
def test_a_silent_step_gives_signs_of_life_and_its_time_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.workbench.session.SILENCE", 0.05)
    events: list[Event] = []
    session = Session(on_event=events.append)

    with session.step("solve head"):
        time.sleep(0.3)

    assert [event.step for event in events if isinstance(event, Working)][:2] == ["solve head", "solve head"]
    assert session.seconds["solve head"] >= 0.3


@pytest.mark.slow
def test_a_step_inside_another_gives_its_own_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.workbench.session.SILENCE", 0.05)
    seen: queue.Queue[Event] = queue.Queue()
    session = Session(on_event=seen.put)

    with session.step("outer"):
        with session.signs_of_life("inner"):
            inside = seen.get(timeout=60)
        while (outside := seen.get(timeout=60)) == inside or "inner" in str(outside):
            pass  # one that was on its way

    assert isinstance(inside, Working)
    assert isinstance(outside, Working)
    assert (inside.step, outside.step) == ("inner", "outer")


def test_a_step_that_reports_progress_needs_no_sign_of_life() -> None:
    events: list[Event] = []
    session = Session(on_event=events.append)
    with session.step("count"):
        session.progress("count", "numbers")(1, 1)
    assert [type(event) for event in events] == [Progress, Detail]  # not Working


@pytest.mark.slow
def test_unreadable_images_are_reported_and_left_out(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "set")
    broken = sorted((folder / "disc").iterdir())[0]
    samples = Session().dataset(photos).samples[:3]
    samples = tuple(type(one)(folder / one.name, one.name, one.label, None, None) for one in samples)
    broken.write_bytes(b"no image")
    events: list[Event] = []
    session = Session(on_event=events.append)

    images = session.read(samples, load_backbone("embedded").preprocess, session.rules)

    assert len(images) == 2
    assert images.classes == ("disc",)
    assert [event.text.split(" is left out")[0] for event in events if isinstance(event, Notice)] == [samples[0].name]


@pytest.mark.slow
def test_silence_is_possible(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Session(on_event=None).dataset(photos)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_images_in_memory_become_the_dataset_of_their_files(photos: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    session = Session(on_event=events.append)
    on_disk = session.dataset(photos)
    pairs = [(open_image(one.path).rgb, one.label) for one in on_disk.samples]

    dataset = session.dataset(pairs)

    np.testing.assert_array_equal(dataset.labels, on_disk.labels)
    assert [fact.pixels for fact in dataset.facts] == [fact.pixels for fact in on_disk.facts]
    assert [one.name for one in dataset.samples] == [f"{i:05d}.png" for i in range(48)]  # the index in the list
    (said,) = [event.text for event in events if isinstance(event, Notice)]
    kept = dataset.image_set.root
    assert said.startswith(f"48 images from memory kept in {kept} (0.")
    shutil.rmtree(kept)
    with pytest.raises(DataError, match=r"the cache has been cleared.*kept in the cache: give it again"):
        session.dataset(kept / "list-48-images.csv")


def test_int8_runs_on_the_processor_of_a_machine_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.runtime.choose_device", lambda name="auto": "cuda" if name == "auto" else name)
    backbone = load_backbone("random")
    backbone.low_precision = LowPrecision("int8", backbone.plain_features, "0" * 64, model=b"quantised")
    engine = Session().engine(backbone, waiting=100)
    assert (engine.name, engine.device) == ("onnxruntime", "cpu")
    assert Session().forward(backbone, waiting=1) is None
    with pytest.raises(BackboneError, match="engine of int8"):
        Session(Recipe(device="cuda")).engine(backbone, waiting=100)


def test_an_empty_text_is_no_data_set() -> None:
    with pytest.raises(DataError, match="an empty text"):
        Session().source(" ")
