"""Whole verbs on a disk that refuses one operation: the outcome is success or our error, and nothing is left."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import headstart as hs
from drawn_photos import draw_folder
from faulty_disk import FaultyDisk
from headstart import files
from headstart.data.output_record import NAME as OUTPUT_RECORD
from headstart.errors import HeadstartError
from small_disk import small_disk

CODES = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO)
TRAIN = {"backbone": "embedded", "engine": "eager", "on_event": None}
VERBS: dict[str, Callable[[], object]] = {
    "audit": lambda: hs.audit("photos", on_event=None),
    "train": lambda: hs.train("photos", out="runs/new", inside=False, **TRAIN),
    "train with inside.html": lambda: hs.train("photos", out="runs/new", **TRAIN),
    "train the last stage": lambda: hs.train(
        "photos", out="runs/new", inside=False, strategy="last-stage", epochs=1, checkpoint_every=0.0, **TRAIN
    ),
    "train an archive": lambda: hs.train("photos.zip", out="runs/new", inside=False, **TRAIN),
    "predict": lambda: hs.predict("runs/old", "photos", csv="table.csv", on_event=None),
    "evaluate": lambda: hs.evaluate("runs/old", "photos", on_event=None),
    "predict, sorted": lambda: hs.predict("runs/old", "photos", sort_into="sorted", on_event=None),
    "advise": lambda: hs.advise("photos", backbones="embedded", out="advice", on_event=None),
    "review": lambda: hs.review("runs/old", drop=[_first()], on_event=None),
    "explain": lambda: hs.explain("runs/old", next(Path("photos").rglob("*.png")), out="explained", on_event=None),
}
OUTPUTS = ("table.csv", "explained", "sorted", "advice", "runs/old/review.jsonl")


def _first() -> str:
    return str(sorted(Path("photos").rglob("*.png"))[0].relative_to("photos"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _prepared: Path) -> Path:
    """A folder with photos, the same as an archive, and a run on them; the cache is empty."""
    shutil.copytree(_prepared, tmp_path / "here")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "here" / "cache"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture(scope="module")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    draw_folder(folder / "photos", per_class=6)
    shutil.make_archive(str(folder / "photos"), "zip", folder / "photos")
    hs.train(folder / "photos", out=folder / "runs" / "old", inside=False, **TRAIN)
    return folder


def leftovers(place: Path) -> list[str]:
    """Hidden and partial files beside the user's own; no leftovers are an interrupted training with a
    checkpoint, and the record of pictures that were written."""
    names = [path.relative_to(place) for path in place.rglob("*") if path.name.startswith(".") or ".part" in path.name]
    resumable = {path.parent.relative_to(place) for path in place.rglob("checkpoint*.pth")}
    recorded = {path.relative_to(place) for path in place.rglob(OUTPUT_RECORD) if any(path.parent.glob("[!.]*"))}
    return sorted(str(name) for name in names if name not in resumable | recorded)


def broken_promises(place: Path, disk: FaultyDisk, verb: Callable[[], object], numbers: Iterator[int]) -> list[str]:
    """What a verb did wrong when the operation of each number was refused, each time with the next error code."""
    wrong = []
    for turn, number in enumerate(numbers):
        shutil.rmtree(place / "cache", ignore_errors=True)
        shutil.rmtree(place / "runs" / "new", ignore_errors=True)
        _remove_outputs(place)
        disk.fail_at(number, CODES[turn % len(CODES)])
        try:
            verb()
        except HeadstartError as error:
            if not (error.found and error.expected):
                wrong.append(f"{disk.failed}: without a reason")
            wrong += [f"{disk.failed}: left {name}" for name in OUTPUTS if os.path.lexists(place / name)]
        except Exception as error:
            wrong.append(f"{disk.failed}: {type(error).__name__}: {error}")
        disk.rest()
        wrong += [f"{disk.failed}: left {name}" for name in leftovers(place)]
        for name in leftovers(place):
            shutil.rmtree(place / name, ignore_errors=True)
    return wrong


def _remove_outputs(place: Path) -> None:
    for name in OUTPUTS:
        files.remove(place / name)


def operations(disk: FaultyDisk, verb: Callable[[], object], place: Path) -> int:
    """How many operations a verb asks for when nothing is refused."""
    disk.fail_at(0, 0)
    verb()
    disk.rest()
    shutil.rmtree(place / "runs" / "new", ignore_errors=True)
    _remove_outputs(place)
    return len(disk.log)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["audit", "predict"])
def test_every_refused_operation_is_one_of_our_errors(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FaultyDisk(monkeypatch, place)
    many = operations(disk, VERBS[name], place)

    assert many > 5  # the layer sees something
    assert broken_promises(place, disk, VERBS[name], iter(range(1, many + 1, 4))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_refused_operations_of_whole_verbs(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FaultyDisk(monkeypatch, place)
    many = operations(disk, VERBS[name], place)
    some = sorted(random.Random(7).sample(range(1, many + 1), min(many, int(os.environ.get("HEADSTART_FAULTS", "8")))))

    assert broken_promises(place, disk, VERBS[name], iter(some)) == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs mount")
def test_a_small_full_disk(place: Path, tmp_path: Path) -> None:
    """A real one: the run is written whole, or refused with the reason, and nothing is left on it."""
    with small_disk(tmp_path / "small", "6m") as small:
        outcomes, told = set(), []
        for room in (50_000, 600_000, 3_650_000, 3_700_000, 3_720_000, 3_760_000, 5_500_000):
            shutil.rmtree(small / "runs", ignore_errors=True)
            (small / "ballast").write_bytes(bytes(max(0, shutil.disk_usage(small).total - room)))
            try:
                hs.train("photos", out=small / "runs" / "new", **TRAIN)
                outcomes.add("whole")
                assert hs.Run.load(small / "runs" / "new").classifier.classes
            except HeadstartError as error:
                outcomes.add("refused")
                told.append(str(error))
                assert not (small / "runs" / "new").exists()
            assert leftovers(small) == []
            (small / "ballast").unlink()
        assert outcomes == {"whole", "refused"}
        assert all("space" in text for text in told), told
