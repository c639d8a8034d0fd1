"""Drawn photos and runs trained on them, made once for all tests and all workers of a session; never written to."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import headstart as hs
from headstart.progress import Event

SAME_BITS = {"engine": "eager", "step_precision": "float32"}
"""Options of trainings that are compared bit by bit: what is chosen by time differs on a machine that is busy."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def photos(shared: Path) -> Path:
    """48 drawn images of three classes, a folder each."""
    return _made_once(shared / "drawn", lambda folder: _draw(folder / "photos")) / "photos"


@pytest.fixture(scope="session")
def run_folder(photos: Path, shared: Path) -> Iterator[Path]:
    """Where the shared run lies; a test that changes it fails the session."""
    made = _made_once(shared / "probe", lambda folder: _train(photos, folder, backbone="embedded", engine="eager"))
    before = _hashes(made / "runs")
    yield made / "runs" / "photos"
    assert _hashes(made / "runs") == before, "a test wrote into the shared run: copy it first"


@pytest.fixture
def run(run_folder: Path) -> hs.Run:
    """A run on `photos`: the embedded backbone with a ridge head, its report and inside.html."""
    return hs.Run.load(run_folder)


@pytest.fixture(scope="session")
def exported(run_folder: Path, shared: Path) -> Path:
    """The shared run as an ONNX file: the folder that `export` wrote; copy it before it is changed."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    made = _made_once(shared / "exported", lambda at: hs.export(run_folder, out=at / "export", on_event=None))
    return made / "export"


@pytest.fixture
def run_events(run_folder: Path) -> list[Event]:
    """The events of the training of `run`, in order."""
    events: list[Event] = pickle.loads((run_folder.parents[1] / "events.pickle").read_bytes())
    return events


@pytest.fixture(scope="session")
def fine_tuned_folder(photos: Path, shared: Path) -> Path:
    """Where the shared fine-tuned run lies."""
    options = {
        **SAME_BITS,
        "backbone": "embedded",
        "checkpoint_every": 0.0,
        "epochs": 1,
        "inside": False,
        "force": True,
    }
    made = _made_once(shared / "tuned", lambda at: _train(photos, at, strategy="probe-then-full", **options))
    return made / "runs" / "photos"


@pytest.fixture
def fine_tuned(fine_tuned_folder: Path) -> hs.Run:
    """A run on `photos`: all stages of the embedded backbone fine-tuned for one epoch."""
    return hs.Run.load(fine_tuned_folder)


def _draw(folder: Path) -> None:
    from drawn_photos import draw_folder  # needs numpy

    draw_folder(folder)


def _train(photos: Path, folder: Path, **options: Any) -> None:
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder / "cache"))
        hs.train(photos, out=folder / "runs" / "photos", on_event=events.append, **options)
    (folder / "events.pickle").write_bytes(pickle.dumps(events))


def _made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, filled by `make` in the first worker that asks; the others wait."""
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)  # what an attempt that failed has left
            folder.mkdir()
            make(folder)
            (folder / "done").touch()
    return folder


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
