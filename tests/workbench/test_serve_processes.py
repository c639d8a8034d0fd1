"""run_processes: several processes at one address, which end together."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import headstart as hs
from headstart.client import Client
from headstart.errors import RecipeError, RunError
from headstart.workbench.serve_processes import run_processes

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")


@pytest.mark.slow
def test_two_processes_answer_alike_sum_their_metrics_and_stop_together(exported: Path, photos: Path) -> None:
    model, image = exported / "classifier.onnx", sorted(photos.rglob("*.png"))[0]
    command = [sys.executable, "-m", "headstart", "serve", str(model), "--port", "0", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "300"})
    assert process.stderr is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert found is not None
        expected = hs.predict(model, image, on_event=None)[0]
        clients = [Client(found[0]) for _ in range(6)]  # connections of their own: most likely both processes answer
        assert all(client.predict(image).probabilities == expected.probabilities for client in clients)
        for client in clients:
            client.close()

        def images() -> int:
            lines = _text(found[0]).splitlines()
            (count,) = [line.split()[-1] for line in lines if line.startswith('headstart_images_total{outcome="answ')]
            return int(count) if "headstart_processes 2" in lines else 0

        assert _soon(lambda: images() == 6)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _text(address: str) -> str:
    import urllib.request

    with urllib.request.urlopen(f"{address}/v1/metrics", timeout=30) as answer:
        return str(answer.read(), "utf-8")


def _soon(holds: object) -> bool:
    assert callable(holds)
    for _ in range(100):
        if holds():
            return True
        time.sleep(0.2)
    return False


def fail(bound: socket.socket, folder: Path, number: int) -> None:
    """A process that ends by itself."""
    sys.exit(3)


@pytest.mark.slow
def test_a_process_that_ends_by_itself_ends_the_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound, pytest.raises(RunError, match=r"code 3.*__main__"):
        run_processes(fail, bound, count=2, drain=1.0)


def test_a_classifier_in_memory_has_one_process(run: hs.Run) -> None:
    with pytest.raises(RecipeError, match="in memory"):
        hs.serve(run.classifier, workers=2, on_event=None)
    with pytest.raises(RecipeError, match="at least 1"):
        hs.serve(run, workers=0, on_event=None)
