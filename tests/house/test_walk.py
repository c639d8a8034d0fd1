"""How many of our own files a call passes, and how often it moves between them: the price of debugging it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import headstart as hs

OWN = str(Path(hs.__file__).parent)


def walk(call: Callable[[], object]) -> tuple[set[str], int]:
    """Own source files whose Python frames a call enters in this thread, and moves from file to file."""
    files: set[str] = set()
    moves = [0]
    here = [""]

    def own(frame: FrameType | None) -> str:
        while frame is not None and not frame.f_code.co_filename.startswith(OWN):
            frame = frame.f_back
        return "" if frame is None else frame.f_code.co_filename

    def follow(frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(OWN):
            return
        file = own(frame if event == "call" else frame.f_back)
        if event == "call":
            files.add(str(Path(file).relative_to(OWN)))
        moves[0] += file != here[0]
        here[0] = file

    sys.setprofile(follow)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files, moves[0]


def test_predicting_one_image_passes_eleven_files_in_forty_moves(run: hs.Run, photos: Path) -> None:
    classifier, image = run.classifier, next(photos.rglob("*.png"))
    classifier.predict(image)  # warm: graphs are traced once

    files, moves = walk(lambda: classifier.predict(image))

    assert "data/images.py" in files  # the count is of something
    # five, three that look whether the file is whole and fits, three that say whether the image is familiar and which
    # classes it may be; decisions/walk.md
    assert len(files) <= 11, sorted(files)
    assert moves <= 40


def test_predicting_with_a_run_passes_sixteen_files_and_traces_no_network(
    run: hs.Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = next(photos.rglob("*.png"))
    hs.predict(run, [image], on_event=None)
    traced: list[object] = []
    monkeypatch.setattr(torch.fx.Tracer, "trace", lambda *a, **k: traced.append(a))

    files, _ = walk(lambda: hs.predict(run, [image], on_event=None))

    assert "classifier/classifier.py" in files
    assert len(files) <= 16, sorted(files)  # three of them as above; one asks what the program has set in torch
    assert not traced


def test_a_step_of_the_loop_passes_eight_files() -> None:
    data = TensorDataset(torch.randn(64, 3, 2, 2), torch.randint(0, 2, (64,)))
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    loop = hs.StepByStep(network, nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), 0.1))
    loop.set_loaders(DataLoader(data, batch_size=8))
    steps = loop.steps(1)
    next(steps)  # the first one begins the epoch

    files, _ = walk(lambda: next(steps))

    assert "training/stepbystep.py" in files
    assert len(files) <= 8, sorted(files)


@pytest.mark.slow
def test_training_passes_no_more_files_than_it_does_today(photos: Path, tmp_path: Path) -> None:
    """The aim is 60; see docs/decisions/walk.md for what keeps it above."""
    options = {"backbone": "embedded", "on_event": None}
    hs.train(photos, out=tmp_path / "first", **options)

    files, _ = walk(lambda: hs.train(photos, out=tmp_path / "second", **options))

    assert "workbench/train.py" in files
    # more than at first, since files, intervals, images and own output are checked, tables can do without torch, and
    # engines, precisions, the start without drawn weights, decisions of a review, shortcuts, the learning curve,
    # trackers, workers and the sources that only workers read have files of their own; one more is entered where a
    # step is slow enough for a sign of life, one asks what the program has set in torch, one whether numbers that
    # are read back can be what their names say, and one clears what a killed fine-tuning of that name left
    assert len(files) <= 160, sorted(files)
