"""Requests to an application without a socket, answered one after another."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

HOST = "127.0.0.1:8017"


def ask(app: Any, method: str, path: str, **request: Any) -> httpx.Response:
    """One request and its answer."""
    return ask_all(app, [(method, path, request)])[0]


def ask_all(app: Any, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
    """Several requests at once."""

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            return list(await asyncio.gather(*(client.request(m, path, **rest) for m, path, rest in requests)))

    return asyncio.run(run())
