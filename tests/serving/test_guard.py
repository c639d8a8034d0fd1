"""Access: Host, Origin and token, each with the ways around it."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")

from headstart.serving.guard import Access  # needs starlette


def status(access: Access, *headers: tuple[str, str], path: str = "/v1/predict") -> int:
    scope = {"path": path, "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers]}
    refusal = access.refusal(scope)
    return 200 if refusal is None else refusal[0]


@pytest.mark.parametrize(
    "host",
    ["", "evil", "localhost@evil:8017", "localhost:8017/x", "localhost:1", "localhost:x", "[::1", "127.0.0.1:8017 "],
)
def test_other_hosts_are_refused(host: str) -> None:
    assert status(Access(8017), ("host", host)) == 400


def test_two_hosts_or_none_are_refused() -> None:
    assert status(Access(8017)) == 400
    assert status(Access(8017), ("host", "localhost:8017"), ("host", "localhost:8017")) == 400


def test_a_token_is_needed_everywhere_but_for_health() -> None:
    access, host = Access(8017, hosts=(), token="secret-of-this-server"), ("host", "anything.example")
    good = ("authorization", "Bearer secret-of-this-server")

    assert status(access, host) == 401
    assert status(access, host, good) == 200
    assert status(access, host, path="/v1/health") == 200
    for bad in ("Bearer secret-of-this-serve", "secret-of-this-server", "Bearer ", "Bearer é"):
        assert status(access, host, ("authorization", bad)) == 401
    assert status(access, host, good, good) == 401
    assert status(access, host, good, ("origin", "http://anything.example:8017")) == 403  # never because of its Host
