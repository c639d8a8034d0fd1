"""The static page over HTTP: made by the verb, downloaded whole, and what to do where its runtime is out of reach."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from headstart.onnx_export.ort_web import FILES
from headstart.onnx_export.parity_report import ParityReport, ParityRow
from studio.studio_client import StudioClient, lay_images

BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture
def client(tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> StudioClient:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))  # no runtime that somebody fetched
    folder = lay_images(tmp_path / "p", ants=2, bees=2)
    shutil.copytree(run_folder, folder / "runs" / "first")
    client = StudioClient(folder)
    client.space.options["offline"] = True
    return client


@dataclass
class Exported:
    """What the verb gives back, as far as the page shows it."""

    parity: ParityReport


def write_page(folder: Path, **options: Any) -> Exported:
    """As the verb does it, without its minute: the runtime's files beside an index."""
    assert options["to"] == "page"
    (folder / "page").mkdir(exist_ok=True)
    with tarfile.open(options["ort_web"]) as archive:
        for name in FILES:
            content = archive.extractfile(f"package/dist/{name}")
            assert content is not None
            (folder / "page" / name).write_bytes(content.read())
    (folder / "page" / "index.html").write_text("<!doctype html>", encoding="utf-8")
    rows = (ParityRow("a", "a", "a", difference=1e-4, margin=0.5, pixels=0),)
    return Exported(ParityReport(rows, tolerance=0.005, pixel_tolerance=1, left_out={}))


def tarball() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in FILES:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


def test_without_its_runtime_the_page_is_not_made_and_the_way_out_is_said(client: StudioClient) -> None:
    there = client.ask("GET", "/api/page/first").json()
    assert (there["made"], there["runtime"]) == (False, False)
    assert there["command"].endswith("runs/first --to page")

    answer = client.post("/api/page/first")

    assert answer.status_code == 422
    assert f"Run `{there['fetch']}` on a machine with a network, and choose its file here." in answer.json()["error"]
    assert not (client.space.project.folder / "runs" / "first" / "page").exists()


def test_the_page_is_made_with_a_runtime_that_is_given_and_downloaded_as_one_zip(
    client: StudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.studio.page_routes.export", write_page)
    assert client.ask("GET", "/api/page/first/zip").status_code == 422  # not made yet
    taken = client.ask("POST", "/api/page/first/runtime", content=tarball(), headers=BYTES).json()
    assert taken["runtime"]
    assert "--ort-web" in taken["command"]

    made = client.post("/api/page/first").json()

    assert (made["made"], made["images"], made["agreement"]) == (True, 1, 1.0)
    answer = client.ask("GET", "/api/page/first/zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="first-page.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {f"first-page/{name}": name.encode() for name in FILES} | {
        "first-page/index.html": b"<!doctype html>"}  # fmt: skip
    hidden = client.space.project.folder / ".headstart"
    assert [path.name for path in hidden.rglob("*") if path.is_file()] == ["onnxruntime-web.tgz"]


def test_another_file_is_no_runtime(client: StudioClient) -> None:
    answer = client.ask("POST", "/api/page/first/runtime", content=b"no tarball", headers=BYTES)
    assert answer.status_code == 422
    assert not client.ask("GET", "/api/page/first").json()["runtime"]
    assert client.post("/api/page/..%2fx").status_code in (404, 422)
