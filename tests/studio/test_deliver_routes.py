"""Delivering over HTTP: files of a run by words, never by paths; an export only where its answers agree."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from headstart.errors import ClassifierError
from headstart.onnx_export.parity_report import ParityReport, ParityRow
from studio.studio_client import StudioClient, lay_images


@pytest.fixture
def client(tmp_path: Path, run_folder: Path) -> StudioClient:
    folder = lay_images(tmp_path / "p", ants=2, bees=2)
    shutil.copytree(run_folder, folder / "runs" / "first")
    return StudioClient(folder)


def test_the_classifier_that_is_downloaded_is_that_of_the_run(client: StudioClient, run_folder: Path) -> None:
    files = client.ask("GET", "/api/deliver/first").json()["files"]
    assert set(files) == {"classifier", "record", "predictions", "report"}

    answer = client.ask("GET", "/api/deliver/first/file/classifier")

    assert answer.content == (run_folder / "classifier.safetensors").read_bytes()
    assert answer.headers["content-disposition"] == 'attachment; filename="classifier.safetensors"'


@pytest.mark.parametrize("path", ["first/file/onnx", "first/file/..%2frun.json", "first/file/card",
                                  "first/report/parity", "first/report/parity-int8", "first/file/onnx-int8",
                                  "first/report/..%2frun.json",
                                  "x", "..%2f..", "first/file/classifier.safetensors"])  # fmt: skip
def test_other_files_are_not_given(client: StudioClient, path: str) -> None:
    assert client.ask("GET", f"/api/deliver/{path}").status_code in (404, 422)


def test_an_export_in_int8_is_offered_beside_that_in_float32(client: StudioClient) -> None:
    folder = client.space.project.folder / "runs" / "first"
    for place in ("export", "export-int8"):  # where `headstart export` writes them
        (folder / place).mkdir()
        for name in ("classifier.onnx", "parity.json", "parity.html"):
            (folder / place / name).write_text(f"{name} in {place}", encoding="utf-8")
    (folder / "export-int8" / "classifier.safetensors").write_bytes(b"int8")

    there = client.ask("GET", "/api/deliver/first").json()

    assert {"onnx", "parity", "onnx-int8", "parity-int8", "classifier-int8"} <= set(there["files"])
    assert there["reports"] == ["parity", "parity-int8"]
    answer = client.ask("GET", "/api/deliver/first/file/onnx-int8")
    assert answer.text == "classifier.onnx in export-int8"
    assert answer.headers["content-disposition"] == 'attachment; filename="classifier-int8.onnx"'
    assert client.ask("GET", "/api/deliver/first/file/classifier-int8").content == b"int8"
    assert client.ask("GET", "/api/deliver/first/report/parity-int8").text == "parity.html in export-int8"
    assert client.ask("GET", "/api/deliver/first/report/parity").text == "parity.html in export"


@dataclass
class Exported:
    """What the verb gives back, as far as the page shows it."""

    parity: ParityReport


def test_an_export_shows_how_far_its_answers_are_off(client: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(ParityRow(f"{i}", "a", "a", difference=i / 1e4, margin=0.5, pixels=0) for i in range(5))
    seen: list[Path] = []

    def export(folder: Path, **options: Any) -> Exported:
        seen.append(folder)
        return Exported(ParityReport(rows, tolerance=0.005, pixel_tolerance=1, left_out={}))

    monkeypatch.setattr("headstart.studio.deliver_routes.export", export)
    found = client.post("/api/deliver/first/onnx").json()

    assert seen == [client.space.project.folder / "runs" / "first"]
    assert (found["images"], found["agreement"], found["largest"]) == (5, 1.0, pytest.approx(4e-4))


def test_an_export_that_fails_says_why(client: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(folder: Path, **options: Any) -> None:
        raise ClassifierError(expected="a file that gives the classifier's answers", found="3 of 77 differ")

    monkeypatch.setattr("headstart.studio.deliver_routes.export", export)
    answer = client.post("/api/deliver/first/onnx")
    assert answer.status_code == 422
    assert "3 of 77" in answer.json()["error"]


def test_a_model_card_is_written_when_asked_for(client: StudioClient) -> None:
    assert "card" in client.post("/api/deliver/first/card").json()["files"]

    text = client.ask("GET", "/api/deliver/first/file/card").text

    assert text == (client.space.project.folder / "runs" / "first" / "model_card.md").read_text(encoding="utf-8")
    assert text.startswith("---")


class FakeServer:
    """A server that is on as soon as it is asked for."""

    def __init__(self) -> None:
        self.state = {"run": "", "address": ""}

    def start(self, run: Path) -> dict[str, str]:
        self.state = {"run": run.name, "address": "http://127.0.0.1:9"}
        return self.state

    def stop(self) -> dict[str, str]:
        self.state = {"run": "", "address": ""}
        return self.state


def test_the_server_is_started_for_a_run_and_every_page_hears_of_it(
    client: StudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADSTART_TOKEN", raising=False)
    monkeypatch.setattr(client.space, "server", FakeServer())
    assert client.ask("GET", "/api/server").json() == {"run": "", "address": "", "ask": ""}
    assert client.post("/api/server/start", run="../first").status_code == 422
    found = client.post("/api/server/start", run="first").json()

    assert found["ask"].endswith("-H 'content-type: image/jpeg' http://127.0.0.1:9/v1/predict")
    assert '"run": "first"' in client.space.hub._last["serving"]
    monkeypatch.setenv("HEADSTART_TOKEN", "a-token-that-is-long-enough")
    asked = client.ask("GET", "/api/server").json()["ask"]
    assert asked.endswith('$HEADSTART_TOKEN"')
    assert "long-enough" not in asked
    assert client.post("/api/server/stop").json()["run"] == ""
