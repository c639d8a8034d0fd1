"""Door: who may come in. A token good for one visit becomes a cookie; Host, Origin and cookie are checked first.

A page of another site, or of another server on this machine, can neither read an answer nor change anything: changes
need our own Origin, answers may not be embedded elsewhere, and nothing on a page may come from another host.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from headstart.serving.guard import LOOPBACK, Access

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)
_SAFE = ("GET", "HEAD")
_CLOSED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>headstart studio</title>
<h1>This page needs the address that <code>headstart studio</code> printed</h1>
<p>It works once, in one browser. Stop the studio with Ctrl-C and start it again for a new one.</p></html>"""


class Keys:
    """The token of the address that is opened, and the secret of the cookie it is exchanged for."""

    def __init__(self, port: int) -> None:
        self.cookie = f"headstart-studio-{port}"  # a browser sends cookies to all ports of a host
        self.token = secrets.token_urlsafe(32)
        self._secret = secrets.token_urlsafe(32)
        self._lock, self._used = threading.Lock(), False

    def exchange(self, token: str) -> str | None:
        """The cookie for the right token, once; else None."""
        with self._lock:
            if self._used or not hmac.compare_digest(token.encode(), self.token.encode()):
                return None
            self._used = True
            return self._secret

    def opens(self, headers: list[str]) -> bool:
        """Whether one of the Cookie headers has the secret."""
        jar: SimpleCookie = SimpleCookie()
        for header in headers:
            try:
                jar.load(header)
            except CookieError:
                return False
        given = jar[self.cookie].value if self.cookie in jar else ""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._secret.encode())


class Door:
    """ASGI middleware before everything else."""

    def __init__(self, app: Any, port: int, keys: Keys) -> None:
        self._app, self._keys = app, keys
        self._access = Access(port, LOOPBACK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # no web sockets: nothing here answers them
                await self._app(scope, receive, send)
            return

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                own = [*_HEADERS, (b"cache-control", b"no-store")]
                message["headers"] = [*message["headers"], *(pair for pair in own if pair[0] not in given)]
            await send(message)

        answer = self._answer(scope)
        await (answer or self._app)(scope, receive, marked)

    def _answer(self, scope: Scope) -> Response | None:
        """What is answered here; None: the request may go on."""
        refusal = self._access.refusal(scope)
        if refusal is not None:
            return JSONResponse({"error": refusal[1]}, refusal[0], headers={"connection": "close"})
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if self._keys.opens([value for name, value in headers if name == "cookie"]):
            if scope["method"] not in _SAFE and not any(name == "origin" for name, _ in headers):
                return JSONResponse({"error": "changes need the Origin of the studio"}, 403)
            return RedirectResponse("/", 303) if scope["path"] == "/" and scope["query_string"] else None
        if scope["path"] == "/" and scope["method"] == "GET":
            token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            secret = self._keys.exchange(token)
            if secret is None:
                return HTMLResponse(_CLOSED, 401)
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._keys.cookie, secret, httponly=True, samesite="strict", path="/")
            return answer
        return JSONResponse({"error": "open the address that headstart studio printed"}, 401)
