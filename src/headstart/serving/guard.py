"""Guard: who may ask. Host, Origin and token are checked before anything of a request is read."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OPEN = ("/v1/health",)  # a container's health check has no token


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Args:
        port: of this server.
        hosts: names by which it may be called; empty: any, which a token must then protect.
        token: that each request must carry as `Authorization: Bearer …`; empty: none.
    """

    port: int
    hosts: tuple[str, ...] = LOOPBACK
    token: str = ""

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason why a request is refused; None: it may go on.

        A web page of somebody else carries its own Origin, and one that has turned its name to this machine (DNS
        rebinding) its own Host. Nothing is granted because of what Host says.
        """
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        given = {name: [value for key, value in headers if key == name] for name in ("host", "origin", "authorization")}
        if len(given["host"]) != 1 or not self._is_own_host(given["host"][0]):
            return 400, "this server is not known by that host name"
        if any(not self._is_own_origin(origin) for origin in given["origin"]):
            return 403, "requests of other web pages are not answered"
        if self.token and scope["path"] not in _OPEN and not self._has_token(given["authorization"]):
            return 401, "a token is needed: Authorization: Bearer TOKEN"
        return None

    def _is_own_host(self, host: str) -> bool:
        name, port = _split(host)
        return not self.hosts or (name in self.hosts and port in (self.port, 80))

    def _is_own_origin(self, origin: str) -> bool:
        scheme, _, place = origin.partition("://")
        name, port = _split(place)
        return scheme == "http" and name in (self.hosts or LOOPBACK) and port == self.port

    def _has_token(self, given: list[str]) -> bool:
        wanted = f"Bearer {self.token}".encode()
        return len(given) == 1 and hmac.compare_digest(given[0].encode("utf-8", "replace"), wanted)


class Guard:
    """ASGI middleware that answers refused requests itself, and adds headers that keep browsers from guessing."""

    def __init__(self, app: Any, access: Access, refused: Callable[[int], None]) -> None:
        self._app, self._access, self._refused = app, access, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._access.refusal(scope)
        if refusal is not None:
            status, reason = refusal
            self._refused(status)
            await JSONResponse({"error": reason}, status, headers={"connection": "close"})(scope, receive, send)
            return

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                extra = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self._app(scope, receive, marked)


def _split(place: str) -> tuple[str, int]:
    """Host name in small letters and port, 80 where none is stated; an empty name if there is no sense in it."""
    try:
        parts = urlsplit(f"//{place}")
        bare = not (parts.username or parts.password or parts.path or parts.query or parts.fragment)
        return (parts.hostname or "" if bare else ""), parts.port or 80
    except ValueError:
        return "", 0
