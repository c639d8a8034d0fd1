"""serve: a process that answers on this machine, and finishes what it has accepted when it is asked to stop."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import headstart as hs
from headstart.client import Client
from headstart.errors import ClassifierError, RunError
from torch_missing import BLOCKED, WITH_TORCH

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")


@pytest.fixture
def server(exported: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the exported file, on a free port, and its address."""
    command = [sys.executable, "-m", "headstart", "serve", str(exported / "classifier.onnx"), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "300"})
    assert process.stderr is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert found is not None
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.slow
def test_the_client_gets_predicts_answers_and_sigterm_lets_what_has_begun_be_answered(
    server: tuple[subprocess.Popen[str], str], exported: Path, photos: Path, tmp_path: Path
) -> None:
    process, address = server
    images = sorted(photos.rglob("*.png"))[:3]
    (tmp_path / "bad.png").write_bytes(b"no image")
    client = Client(address)

    found = [client.predict(image) for image in images]

    expected = hs.predict(exported / "classifier.onnx", images, on_event=None)
    assert [one.to_dict() for one in found] == [one.to_dict() for one in expected]
    assert "not an image" in str(client.predict(tmp_path / "bad.png").error)
    assert client.card()["classes"] == ["disc", "square", "stripes"]
    assert len(client.embed(images[0].read_bytes())) > 100
    with pytest.raises(RunError, match="422"):
        client.explain(images[0])
    client.close()
    assert _status_of_long_head(address) == b"HTTP/1.1 400 Bad Request"

    slow = _Request(address, images[0].read_bytes())
    process.send_signal(signal.SIGTERM)
    _wait_until_refused(address)
    assert f'"label":"{expected[0].label}"'.encode() in slow.finish()
    assert process.wait(30) == 0


@pytest.mark.slow
def test_a_process_without_torch_answers_as_predict(exported: Path, photos: Path) -> None:
    file, image = exported / "classifier.onnx", sorted(photos.rglob("*.png"))[0]
    code = f"{BLOCKED.format(packages=WITH_TORCH)}\nfrom headstart.cli.main import main\nmain(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(file), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "300"},
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None, line
        client = Client(found[0])
        (expected,) = hs.predict(file, image, on_event=None)
        assert client.predict(image).to_dict() == expected.to_dict()
        client.close()
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(ClassifierError, match="not an ONNX file of headstart"):
        hs.serve(tmp_path / "x.onnx", port=0, on_event=None)


class _Request:
    """A request of which half of the image is sent."""

    def __init__(self, address: str, image: bytes) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._rest, half = image[len(image) // 2 :], image[: len(image) // 2]
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        head = f"POST /v1/predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: image/png\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(image)}\r\n\r\n".encode() + half)

    def finish(self) -> bytes:
        """Send the rest; the answer, until the server closes."""
        with self._socket as connection:
            connection.sendall(self._rest)
            return b"".join(iter(lambda: connection.recv(65536), b""))


def _status_of_long_head(address: str) -> bytes:
    """The first line of the answer to a request whose head has 1 MB."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with contextlib.suppress(ConnectionError):  # it is refused before all has come
            connection.sendall(b"GET /v1/health HTTP/1.1\r\nX-Long: " + bytes([97]) * 1_000_000)
        return connection.recv(100).split(b"\r\n")[0]


def _wait_until_refused(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    for _ in range(300):
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    raise AssertionError("it still accepts connections")
