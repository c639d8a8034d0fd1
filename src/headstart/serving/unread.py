"""Unread: the rest of a body that nobody reads is thrown away before the connection closes.

A server that answers early and closes resets the connection of a client that still sends: the client then sees a broken
pipe in the place of "too large" or "a token is needed". nginx calls the remedy a lingering close.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from headstart.serving.guard import Receive, Scope, Send
from headstart.serving.limits import ServerLimits

_WITH_BODY = (b"content-length", b"transfer-encoding")


class Unread:
    """ASGI middleware: the answer goes out at once, its end once the rest of the body has come and been discarded."""

    def __init__(self, app: Any, limits: ServerLimits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not any(name in _WITH_BODY for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        complete = False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal complete
            message = await receive()
            complete = not message.get("more_body", False)  # also where the client has gone
            return message

        async def ended(message: MutableMapping[str, Any]) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not last or complete:
                await send(message)
                return
            await send({**message, "more_body": True})
            await self._discard(receive)
            await send({"type": "http.response.body", "body": b""})

        await self._app(scope, counted, ended)

    async def _discard(self, receive: Receive) -> None:
        try:
            await asyncio.wait_for(self._read(receive), self._limits.discard_seconds)
        except TimeoutError:
            return  # who still sends has had the answer for as long

    async def _read(self, receive: Receive) -> None:
        left, more = self._limits.discard_bytes, True
        while more and left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            more = message.get("more_body", False)
