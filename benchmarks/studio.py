"""How long after the last upload has the studio's head learned the new images?

    python benchmarks/studio.py [--per-class 12] [--more 200]

A studio on drawn images answers a client that sends 24 images and waits for the event `learned`, then 200 more, six at
a time, as a browser does. Goals: the first answer 3 s after the last of 24, and 1 s after the last of 200 more, with
all that is still to be computed then: features are computed while images arrive.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from machine import hardware
from record import Line, at_most, show, write

FIRST, AGAIN = 3.0, 1.0  # seconds
CLASSES = ("disc", "square")
_PATIENCE = 300


class Studio:
    """A studio as a process, its cookie, and the `learned` events it has sent with the moment they came."""

    def __init__(self, folder: Path, cache: Path) -> None:
        """Start one with a cache of its own: no image's features are there from an earlier run."""
        command = [sys.executable, "-m", "headstart", "studio", str(folder), "--port", "0", "--no-browser", "--offline"]
        command += ["--backbone", "embedded"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={**os.environ, "HEADSTART_CACHE": str(cache)})  # fmt: skip
        found = next(
            found for line in self.process.stdout or () if (found := re.search(r"127.0.0.1:(\d+)/\?token=(\S+)", line))
        )
        self.port = int(found[1])
        self.cookie = self._connect("GET", f"/?token={found[2]}").getheader("set-cookie", "").partition(";")[0]
        self.learned: list[tuple[float, dict[str, Any]]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _connect(self, method: str, path: str, body: bytes = b"", cookie: str = "") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        headers = {"cookie": cookie, "origin": f"http://127.0.0.1:{self.port}"}
        kind = "application/json" if body[:1] == b"{" else "application/octet-stream"
        connection.request(method, path, body or None, {**headers, "content-type": kind})
        return connection.getresponse()

    def _listen(self) -> None:
        kind = ""
        for line in self._connect("GET", "/api/events", cookie=self.cookie):
            text = line.decode().strip()
            if text.startswith("event: "):
                kind = text[7:]
            elif text.startswith("data: ") and kind == "learned":
                self.learned.append((time.monotonic(), json.loads(text[6:])))

    def send(self, path: str, body: bytes) -> None:
        """One request that must succeed."""
        answer = self._connect("POST", path, body, self.cookie)
        assert answer.status == 200, answer.read()

    def add(self, images: list[tuple[str, bytes]]) -> float:
        """Send images six at a time; when the last was accepted."""
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda one: self.send(f"/api/images?label={one[0]}&name=x.png", one[1]), images))
        return time.monotonic()

    def wait(self, images: int) -> tuple[float, dict[str, Any]]:
        """The first result about so many images, and when it came."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            for found in self.learned:
                if found[1]["images"] == images and found[1]["accuracy"]:
                    return found
            time.sleep(0.005)
        raise AssertionError("nothing was learned")


def drawn(count: int, seed: int) -> list[tuple[str, bytes]]:
    """Labels and PNG files of discs and squares."""
    rng, y, x = np.random.default_rng(seed), *np.mgrid[:160, :160]
    found = []
    for i in range(count):
        cy, cx, r = *rng.uniform(50, 110, 2).tolist(), rng.uniform(25, 45)
        inside = ((y - cy) ** 2 + (x - cx) ** 2 < r**2) if i % 2 == 0 else (abs(y - cy) < r) & (abs(x - cx) < r)
        front, back = rng.uniform(0, 255, (2, 3))
        picture = np.where(inside[..., None], front, back) + rng.normal(0, 12, (160, 160, 3))
        file = io.BytesIO()
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        found.append((CLASSES[i % 2], file.getvalue()))
    return found


def timed(name: str, what: str, seconds: float, limit: float = 0.0) -> Line:
    """A line of seconds, with its goal where there is one."""
    goal, verdict = at_most(seconds, limit, " s") if limit else ("", "")
    return Line(name=name, what=what, value=seconds, shown=f"{seconds:.2f} s", goal=goal, verdict=verdict)


def main() -> None:
    """Upload, wait, show the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=12)
    parser.add_argument("--more", type=int, default=200)
    chosen = parser.parse_args()
    first, more = 2 * chosen.per_class, chosen.more
    with tempfile.TemporaryDirectory() as made:
        studio = Studio(Path(made) / "set", Path(made) / "cache")
        try:
            for name in CLASSES:
                studio.send("/api/classes", json.dumps({"name": name}).encode())
            sent = studio.add(drawn(first, 0))
            came, _ = studio.wait(first)
            lines = [timed("first", "last of the first images to the answer", came - sent, FIRST)]
            sent = studio.add(drawn(more, 1))
            came, values = studio.wait(first + more)
            lines.append(
                timed("more", "last of the other images to the answer, with their features", came - sent, AGAIN)
            )
            lines.append(timed("solve", "of that, solving the head", values["seconds"]))
        finally:
            studio.process.terminate()
            studio.process.wait(30)
    show(lines)
    write("studio", lines, hardware=hardware())


if __name__ == "__main__":
    main()
