"""The body of a request: a slow sender is not waited for, whatever else is sent has its status."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("python_multipart")

from starlette.requests import Request

from headstart.serving.body import Refusal, read_images
from headstart.serving.limits import ServerLimits


def read(messages: list[dict[str, Any]], **headers: str) -> tuple[list[bytes], bool]:
    limits = ServerLimits(body_seconds=0.2, body_bytes=100)

    async def run() -> tuple[list[bytes], bool]:
        waiting = iter(messages)

        async def receive() -> dict[str, Any]:
            message = next(waiting, None)
            if message is None:
                await asyncio.sleep(60)  # a sender who says nothing more
            return message or {}

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "headers": raw, "path": "/", "query_string": b""}
        return await read_images(Request(scope, receive), limits)

    return asyncio.run(run())


def chunk(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_chunks_are_joined() -> None:
    assert read([chunk(b"ab", True), chunk(b"c")], content_type="image/jpeg") == ([b"abc"], False)


@pytest.mark.parametrize("end", [b"--x--\r\n", b"", b"--", b"--x\r\nContent"])
def test_a_form_that_ends_early_is_refused_and_no_part_of_it_dropped(end: bytes) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="i"; filename="a"\r\n\r\nabc\r\n'
    kind = "multipart/form-data; boundary=x"
    if end == b"--x--\r\n":
        assert read([chunk(part + end)], content_type=kind) == ([b"abc"], True)
    else:
        with pytest.raises(Refusal, match="breaks off"):
            read([chunk(part + end)], content_type=kind)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("messages", "headers", "status"),
    [
        ([chunk(b"a", True)], {}, 408),
        ([chunk(b"a", True), {"type": "http.disconnect"}], {}, 400),
        ([chunk(bytes(101))], {}, 413),
        ([chunk(b"a")], {"content_length": "101"}, 413),
        ([chunk(b"a")], {"content_length": "9" * 400}, 413),
        ([chunk(b"a")], {"content_encoding": "gzip"}, 415),
    ],
)
def test_each_way_to_fail_has_its_status(messages: list[dict[str, Any]], headers: dict[str, str], status: int) -> None:
    with pytest.raises(Refusal) as refusal:
        read(messages, content_type="image/png", **headers)
    assert refusal.value.status == status
