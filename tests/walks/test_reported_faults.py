"""Faults that were reported of whole commands, each with its right outcome."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import headstart as hs
from headstart import runtime
from headstart.cli.main import main
from headstart.progress import Event, Progress
from headstart.workbench.events import Plan
from headstart.workbench.train import train

QUICK = {"backbone": "embedded", "engine": "eager", "inside": False}


@pytest.mark.slow
def test_a_cache_that_vanishes_in_mid_run_costs_nothing_but_time(photos: Path, tmp_path: Path) -> None:
    """It was reported as a full disk."""
    done = []

    def vanish(event: Event) -> None:
        if isinstance(event, Plan) and not done:
            shutil.rmtree(runtime.cache_folder())
            done.append(event)

    run = train(photos, out=tmp_path / "run", on_event=vanish, **QUICK)

    assert done
    assert run.evaluation.accuracy.n > 0
    assert (run.folder / "report.html").exists()


def test_head_and_writing_report_their_progress(run_events: list[Event]) -> None:
    """Thirteen of 25 minutes had no word."""
    steps = {event.step for event in run_events if isinstance(event, Progress)}
    assert {"extract features", "solve head", "write predictions"} <= steps


@pytest.mark.parametrize("text", ['{"version": "x"}', '{"version": 1}', "[]", '"a"', "{", "[" * 9999])
def test_a_record_without_sense_is_an_error_of_the_run(text: str, run: hs.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    (folder / "run.json").write_text(text)
    with pytest.raises(hs.RunError):
        hs.compare(folder, run)


def test_predictions_of_other_columns_are_an_error_of_the_run(run: hs.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    (folder / "predictions.csv").write_text("a,b\n1,2\n")
    with pytest.raises(hs.RunError, match=r"predictions\.csv"):
        hs.compare(folder, run)


@pytest.mark.parametrize("text", ["[]", '{"source": 5}', '{"version": 1, "source": "a"}'])
def test_a_job_without_sense_is_an_error_of_the_run(text: str, tmp_path: Path) -> None:
    folder = tmp_path / ".run.unfinished"
    folder.mkdir()
    (folder / "job.json").write_text(text)
    with pytest.raises(hs.RunError):
        hs.resume(tmp_path / "run", on_event=None)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_record_of_a_data_set_that_is_no_file_is_not_waited_for(kind: str, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    if kind == "pipe":
        os.mkfifo(folder / "source.json")
    else:
        (folder / "source.json").symlink_to("/dev/zero")
    assert hs.audit(folder, on_event=None).images == hs.audit(photos, on_event=None).images


def test_a_classifier_with_nan_gives_no_half_answer(
    run: hs.Run, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The JSON broke off in the middle."""
    path = tmp_path / "nan.safetensors"
    with safe_open(run.folder / "classifier.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        card = file.metadata()
    name = next(name for name in tensors if name.startswith("backbone.") and tensors[name].is_floating_point())
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, path, card)

    with pytest.raises(SystemExit) as ended:
        main(["predict", str(path), str(next(photos.glob("*/*.png"))), "--json"])
    shown = capfd.readouterr()

    assert ended.value.code not in (0, None)
    assert not shown.out or json.loads(shown.out)
    assert name.removeprefix("backbone.") in shown.err + shown.out
