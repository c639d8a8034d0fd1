"""The door: the token works once, everything else needs the cookie, and no other page or host gets in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from studio.studio_client import StudioClient, lay_images

EVERYTHING = (
    "/",
    "/static/main.js",
    "/api/state",
    "/api/images?label=ants",
    "/api/findings",
    "/api/events",
    "/nothing",
)


@pytest.fixture
def client(tmp_path: Path) -> StudioClient:
    return StudioClient(lay_images(tmp_path / "p", ants=2, bees=2))


@pytest.mark.slow
def test_the_token_becomes_a_cookie_once(tmp_path: Path) -> None:
    from headstart.studio.app import make_app
    from headstart.studio.door import Keys

    client = StudioClient(tmp_path)
    keys = Keys(8018)
    client.app = make_app(client.space, 8018, keys)

    wrong = client.ask("GET", "/?token=wrong", cookie=False)
    first = client.ask("GET", f"/?token={keys.token}", cookie=False)
    second = client.ask("GET", f"/?token={keys.token}", cookie=False)
    cookie = first.headers["set-cookie"]

    assert (wrong.status_code, first.status_code, second.status_code) == (401, 303, 401)
    assert first.headers["location"] == "/"
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert keys.token not in cookie
    client.cookie = cookie.partition(";")[0]
    assert client.ask("GET", "/").status_code == 200
    assert client.ask("GET", f"/?token={keys.token}").headers["location"] == "/"  # reloaded with the token still there


@pytest.mark.parametrize("path", EVERYTHING)
@pytest.mark.parametrize("cookie", ["", "headstart-studio-8018=wrong", "headstart-studio-8018=", "x=\u00e9"])
def test_without_the_cookie_nothing_is_told(client: StudioClient, path: str, cookie: str) -> None:
    headers = {"cookie": cookie.encode("latin-1")} if cookie else {}
    answer = client.ask("GET", path, cookie=False, headers=headers)

    assert answer.status_code == 401
    assert "ants" not in answer.text


@pytest.mark.parametrize("host", ["evil.com", "evil.com:8018", "127.0.0.1:9999", "127.0.0.1.evil.com:8018", ""])
def test_another_host_is_refused_even_with_the_cookie(client: StudioClient, host: str) -> None:
    assert client.ask("GET", "/api/state", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("origin", ["http://evil.com", "null", "https://127.0.0.1:8018", "http://127.0.0.1:8888"])
def test_another_origin_changes_nothing(client: StudioClient, origin: str) -> None:
    answer = client.ask("POST", "/api/classes", origin=origin, json={"name": "gulls"})

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert client.space.project.look().classes == ("ants", "bees")


def test_a_change_without_an_origin_is_refused(client: StudioClient) -> None:
    assert client.ask("POST", "/api/classes", origin=None, json={"name": "gulls"}).status_code == 403


def test_a_preflight_grants_nothing(client: StudioClient) -> None:
    headers = {"origin": "http://evil.com", "access-control-request-method": "POST"}
    answer = client.ask("OPTIONS", "/api/classes", headers=headers)

    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/api/state", "/static/main.js"])
def test_every_answer_forbids_what_comes_from_elsewhere(client: StudioClient, path: str) -> None:
    headers = client.ask("GET", path).headers

    assert "default-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"


def test_the_page_names_no_other_host() -> None:
    from headstart.studio.app import static_files

    for name, path in static_files().items():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert set(re.findall(r"https?://([^/\s'\"`]*)", text)) <= {"127.0.0.1:8017"}, name  # of `headstart serve`
        assert not re.search(r"(import|src|href|url)\W{1,3}//", text), name
        assert "innerHTML" not in text, name
        assert len(text.splitlines()) < 300, name
