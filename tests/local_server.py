"""A real server on this machine that misbehaves in every way we know of."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves the bytes of `files` by path, and breaks its word when told to.

    Attributes:
        breaks: bytes after which each of the next answers' line is cut.
        codes: statuses of the next answers, instead of any file.
        codes_of: path → status that it always answers with.
        asked: path and Range of every request.
        promises: bytes announced beyond those there are; may be negative.
        length: what it says instead of the file's length.
        shift: bytes by which a range begins elsewhere than asked for.
        unasked: where each of the next answers begins, whatever was asked for.
        halts: for each of the next answers, an event that it waits for after its first half.
        tag: the ETag of every file; empty: none.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.breaks: list[int] = []
        self.codes: list[int] = []
        self.codes_of: dict[str, int] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.knows_ranges = True
        self.heeds_if_range = True
        self.says_length = True
        self.promises = 0
        self.length = ""
        self.shift = 0
        self.unasked: list[int] = []
        self.halts: list[threading.Event] = []
        self.tag = ""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, asked in self.asked]

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/{path}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            asked = self.headers.get("Range")
            server.asked.append((path, asked))
            code = server.codes.pop(0) if server.codes else server.codes_of.get(path, 0)
            if code or path not in server.files:
                self.send_error(code or 404)
                return
            body = server.files[path]
            wanted = self.headers.get("If-Range")
            if server.heeds_if_range and wanted is not None and wanted != server.tag:
                asked = None
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
            if server.unasked:
                start = server.unasked.pop(0)
            if start >= len(body) > 0:
                self.send_error(416)
                return
            if start:
                start += server.shift
            self._answer(body, start)

        def _answer(self, body: bytes, start: int) -> None:
            rest = body[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if server.tag:
                self.send_header("ETag", server.tag)
            if server.says_length:
                self.send_header("Content-Length", server.length or str(len(rest) + server.promises))
            self.end_headers()
            sent = rest[: server.breaks.pop(0)] if server.breaks else rest
            with contextlib.suppress(OSError):  # the other side may hang up
                half = len(sent) // 2 if server.halts else 0
                self.wfile.write(sent[:half])
                if half:
                    server.halts.pop(0).wait(10)
                self.wfile.write(sent[half:])

        def log_message(self, *args: object) -> None:
            pass

    return Handler
