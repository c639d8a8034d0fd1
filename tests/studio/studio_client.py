"""A browser without a socket: requests to the studio's application, with its cookie and its Origin."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from headstart.studio.app import make_app
from headstart.studio.door import Keys
from headstart.studio.workspace import Workspace

PORT = 8018
ORIGIN = f"http://127.0.0.1:{PORT}"


class StudioClient:
    """One browser; the learner's threads are not started."""

    def __init__(self, folder: Path) -> None:
        self.space, self.keys = Workspace(folder, {"backbone": "embedded"}), Keys(PORT)
        self.app = make_app(self.space, PORT, self.keys)
        self.cookie = f"{self.keys.cookie}={self.keys.exchange(self.keys.token)}"

    def ask(
        self, method: str, path: str, *, cookie: bool = True, origin: str | None = ORIGIN, **request: Any
    ) -> httpx.Response:
        """One request and its answer."""
        headers = dict(request.pop("headers", {}))
        headers |= {"cookie": self.cookie} if cookie else {}
        headers |= {"origin": origin} if origin and method == "POST" else {}

        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                return await client.request(method, path, headers=headers, **request)

        return asyncio.run(run())

    def post(self, path: str, **values: Any) -> httpx.Response:
        """Send JSON."""
        return self.ask("POST", path, json=values)

    def add(self, label: str, content: bytes, **query: str) -> httpx.Response:
        """Send an image."""
        return self.ask("POST", "/api/images", params={"label": label, **query}, content=content,
                        headers={"content-type": "application/octet-stream"})  # fmt: skip


def png(seed: int = 0, side: int = 24) -> bytes:
    """A PNG of random colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def lay_images(folder: Path, **classes: int) -> Path:
    """A folder per class with so many random images."""
    for number, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{chr(97 + i)}x.png").write_bytes(png(100 * number + i))
    return folder
