"""The application: its page and files, and what is asked for wrongly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from headstart.studio.app import static_files
from studio.studio_client import StudioClient


@pytest.mark.slow
def test_the_page_and_every_file_it_needs_are_served(tmp_path: Path) -> None:
    client = StudioClient(tmp_path)

    assert "<main" in client.ask("GET", "/").text
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
    for name, path in static_files().items():
        answer = client.ask("GET", f"/static/{name}")
        assert answer.headers["content-type"].startswith(kinds[path.suffix])
        assert answer.content == path.read_bytes()
    assert "--ground" in client.ask("GET", "/static/tokens.css").text  # those of the report


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/app.py",
     "/static/%2fetc%2fpasswd", "/api/picture/small/..%2f..%2fx", "/api/picture/huge/x", "/docs", "/openapi.json"],
)  # fmt: skip
def test_a_name_never_becomes_a_path(tmp_path: Path, path: str) -> None:
    answer = StudioClient(tmp_path).ask("GET", path)

    assert answer.status_code in (404, 422)
    assert "import" not in answer.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b"{}", "text/plain", 415), (b"{", "application/json", 422), (b"[]", "application/json", 422),
     (b"{}", "application/json", 422), (b" " * 8_000_001, "application/json", 413),
     (b"a=b", "application/x-www-form-urlencoded", 415), (b"\xff\xfe", "application/json", 422)],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes, kind: str, status: int) -> None:
    client = StudioClient(tmp_path)
    answer = client.ask("POST", "/api/classes", content=content, headers={"content-type": kind})

    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_missing_parameter_is_said(tmp_path: Path) -> None:
    answer = StudioClient(tmp_path).ask("POST", "/api/images", content=b"x", headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()) == (422, {"error": "a parameter is missing or wrong"})


@pytest.mark.slow
def test_a_folder_that_is_removed_meanwhile_is_said(tmp_path: Path) -> None:
    client = StudioClient(tmp_path / "hands")
    shutil.rmtree(tmp_path / "hands")

    answer = client.ask("GET", "/api/state")

    assert answer.status_code == 422
    assert "No such file or directory" in answer.json()["error"]
    assert str(tmp_path / "hands") in answer.json()["error"]
