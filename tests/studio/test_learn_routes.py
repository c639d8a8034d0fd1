"""Trainings and their runs over HTTP: what is asked for wrongly is said, reports may run no script."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from headstart.backbones.catalogue import find_spec, rank_backbones
from headstart.recipe import Recipe
from headstart.studio.learn_routes import start_training
from headstart.workbench.job import Job
from studio.studio_client import StudioClient, lay_images


@pytest.fixture
def client(tmp_path: Path, run_folder: Path) -> StudioClient:
    folder = lay_images(tmp_path / "my photos", ants=3, bees=3)
    shutil.copytree(run_folder, folder / "runs" / "first")
    return StudioClient(folder)


def test_runs_are_listed_with_their_intervals_and_reports(client: StudioClient, run_folder: Path) -> None:
    (run,) = client.ask("GET", "/api/runs").json()["runs"]

    assert (run["name"], run["pages"]) == ("first", ["report", "inside"])
    assert run["accuracy"]["low"] <= run["accuracy"]["value"] <= run["accuracy"]["high"]
    report = client.ask("GET", "/api/runs/first/report")
    assert report.content == (run_folder / "report.html").read_bytes()
    policy = report.headers["content-security-policy"]
    assert "script" not in policy
    assert policy.startswith("default-src 'none'")
    assert "sandbox" in policy


@pytest.mark.parametrize("path", ["/api/runs/first/run.json", "/api/runs/second/report", "/api/runs/..%2f../report"])
def test_other_files_of_a_run_are_not_given(client: StudioClient, path: str) -> None:
    assert client.ask("GET", path).status_code in (404, 422)


def test_a_damaged_run_is_named_and_the_others_stay(client: StudioClient) -> None:
    bad = client.space.project.folder / "runs" / "bad"
    bad.mkdir()
    for name in ("run.json", "classifier.safetensors"):
        (bad / name).write_text("{")

    runs = {run["name"]: run for run in client.ask("GET", "/api/runs").json()["runs"]}
    assert "run.json" in runs["bad"]["error"]
    assert "accuracy" in runs["first"]


@pytest.mark.slow
@pytest.mark.parametrize("values", [{"strategy": "magic"}, {"time": "soon"}])
def test_a_wrong_option_is_said_before_anything_starts(client: StudioClient, values: dict[str, Any]) -> None:
    answer = client.post("/api/train", **values)
    assert answer.status_code == 422
    assert not client.space.training.is_running


def test_the_command_is_what_the_page_does(client: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    called, ended = [], threading.Event()

    def train(source: Path, **options: Any) -> None:
        called.append((source, options))
        ended.set()

    monkeypatch.setattr("headstart.studio.learn_routes.train", train)
    client.space.options["offline"] = True  # as the studio was started
    answer = start_training(client.space, {"strategy": "auto", "backbone": "fast"})

    assert ended.wait(30)
    client.space.training.wait(30)
    folder = client.space.project.folder
    ((source, options),) = called
    assert (source, options["out"]) == (folder, folder / "runs" / "my-photos")
    assert (options["strategy"], options["backbone"]) == ("auto", "fast")
    out = f"'{folder}/runs/my-photos'"
    flags = "--strategy auto --backbone fast --checkpoint-every 5 --offline"
    assert answer["command"] == f"headstart train '{folder}' --out {out} {flags}"


def test_nothing_to_resume_is_said(client: StudioClient) -> None:
    assert "stopped" in client.post("/api/train/resume", run="first").json()["error"]
    assert client.post("/api/train/stop").status_code == 200


def test_choices_have_what_the_page_shows(client: StudioClient) -> None:
    choices = client.ask("GET", "/api/choices").json()
    assert set(choices["strategies"]) == {"probe", "auto", "last-stage", "probe-then-full", "full"}
    assert {"efficientnet_lite0", "resnet18"} <= {one["name"] for one in choices["backbones"]}
    assert choices["chosen"] == {"strategy": "probe", "backbone": "embedded", "offline": False}
    cards = {one["name"]: one for one in choices["words"]}
    assert list(cards) == ["auto", "fast", "accurate", "embedded"]
    assert cards["embedded"]["gmac"] == find_spec("embedded").gmac
    assert cards["fast"]["takes"] in {spec.name for spec in rank_backbones("fast")}


def test_a_fine_tuning_that_a_kill_interrupted_is_offered_and_resumed(
    client: StudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = client.space.project.folder / "runs" / "tuned"
    job = Job.begin(target, client.space.project.folder, Recipe(strategy="last-stage"))
    (job.folder / "checkpoint.pth").touch()
    job.lock.release()
    resumed, ended = [], threading.Event()

    def resume(run: Path, **options: Any) -> None:
        resumed.append(run)
        ended.set()

    monkeypatch.setattr("headstart.studio.learn_routes.resume", resume)
    assert client.ask("GET", "/api/runs").json()["unfinished"] == ["tuned"]
    assert client.post("/api/train/resume", run="../tuned").status_code == 422
    answer = client.post("/api/train/resume", run="tuned")

    assert ended.wait(30)
    client.space.training.wait(30)
    assert resumed == [target]
    assert answer.json()["command"] == f"headstart resume '{target}'"
