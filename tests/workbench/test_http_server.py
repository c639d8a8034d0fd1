"""HttpServer: who may ask from where, and a port that is taken."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.classifier.rejection import Rejection
from headstart.errors import RecipeError, RunError
from headstart.workbench.http_server import HttpServer

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")


def server(**given: Any) -> HttpServer:
    usual: dict[str, Any] = {"port": 0, "listen": "127.0.0.1", "token": None, "workers": 1, "rejection": Rejection()}
    return HttpServer(lambda threads, several: SimpleNamespace(card={}), "a model", **usual | given)


def test_another_address_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADSTART_TOKEN", raising=False)
    for options, found in (
        ({"listen": "0.0.0.0"}, "a token"),
        ({"listen": "example.org"}, "IP address"),
        ({"listen": "0.0.0.0", "token": "short"}, "16"),
        ({"workers": 0}, "at least 1 worker"),
    ):
        with pytest.raises(RecipeError, match=found):
            server(**options).serve(lambda event: None)


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RunError, match="--port"):
        server(port=taken.getsockname()[1]).serve(lambda event: None)
