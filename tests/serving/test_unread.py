"""Unread: an early answer goes out before the rest of the body is read, and that has bounds."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

pytest.importorskip("starlette")

from headstart.serving.limits import ServerLimits
from headstart.serving.unread import Unread

CHUNK = 100_000
SCOPE = {"type": "http", "headers": [(b"transfer-encoding", b"chunked")]}


def asked(reads: int, chunks: int, limits: ServerLimits) -> tuple[int, list[tuple[int, bytes, bool]]]:
    """Chunks that were taken of a body of which the application reads a few; at which of them what was sent."""
    taken, sent = 0, list[tuple[int, bytes, bool]]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(reads):
            await receive()
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"too large"})

    async def receive() -> MutableMapping[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": bytes(CHUNK), "more_body": taken < chunks}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            sent.append((taken, message["body"], message.get("more_body", False)))

    asyncio.run(Unread(app, limits)(dict(SCOPE), receive, send))
    return taken, sent


def test_the_answer_goes_out_first_and_the_rest_is_read() -> None:
    assert asked(2, 10, ServerLimits()) == (10, [(2, b"too large", True), (10, b"", False)])


def test_what_was_read_to_its_end_is_not_waited_for() -> None:
    assert asked(3, 3, ServerLimits()) == (3, [(3, b"too large", False)])


def test_a_body_without_end_is_left_at_the_bound() -> None:
    taken, sent = asked(1, 1_000_000, ServerLimits(discard_bytes=10 * CHUNK))

    assert taken == 11
    assert sent[-1] == (11, b"", False)


def test_a_sender_that_stops_is_left_in_time() -> None:
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body", "body": b"no"})

    async def never() -> MutableMapping[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        ended.append(message.get("more_body", False))

    asyncio.run(Unread(app, ServerLimits(discard_seconds=0.05))(dict(SCOPE), never, send))

    assert ended == [True, False]
