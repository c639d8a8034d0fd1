"""The server of the page: it answers as the classifier does, and ends when it is stopped or the studio is gone."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

import headstart as hs
from headstart.errors import RunError
from headstart.studio.server_process import ServerProcess

PYTHON = (sys.executable, "-S", "-c")


def ask(address: str, content: bytes) -> dict[str, float]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", "/v1/predict", content, {"content-type": "image/png"})
        (found,) = json.loads(connection.getresponse().read())["predictions"]
        return dict(found["probabilities"])
    finally:
        connection.close()


def wait_until_refused(address: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            ask(address, b"x")
        except ConnectionError:
            return
        except (KeyError, ValueError):  # it still answers
            pass
        time.sleep(0.1)
    raise AssertionError("the server still answers")


@pytest.mark.slow
def test_it_answers_as_the_classifier_and_ends_with_a_studio_that_is_killed(run: hs.Run, photos: Path) -> None:
    picture = min(path for path in photos.rglob("*") if path.suffix in (".png", ".jpg"))
    expected = hs.Classifier.load(run.folder).predict(picture)
    assert isinstance(expected, hs.Prediction)
    code = (
        "import time, pathlib; from headstart.studio.server_process import ServerProcess; "
        f"print(ServerProcess().start(pathlib.Path({str(run.folder)!r}))['address'], flush=True); time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as studio:
        assert studio.stdout is not None
        address = studio.stdout.readline().strip()
        assert ask(address, picture.read_bytes()) == pytest.approx(dict(expected.probabilities), abs=1e-6)
        studio.kill()
    wait_until_refused(address)


def test_it_is_on_until_it_is_stopped(tmp_path: Path) -> None:
    server = ServerProcess((*PYTHON, "print('on http://127.0.0.1:81/x', flush=True); import time; time.sleep(99)"))
    assert server.state == {"run": "", "address": ""}
    assert server.start(tmp_path / "first") == {"run": "first", "address": "http://127.0.0.1:81"}
    first = server._process
    assert server.start(tmp_path / "second")["run"] == "second"  # one server at a time
    assert first is not None
    assert first.poll() is not None
    assert server.stop() == {"run": "", "address": ""}


def test_what_cannot_be_served_says_why(tmp_path: Path) -> None:
    server = ServerProcess((*PYTHON, "print('the file is no classifier')"))
    with pytest.raises(RunError, match="no classifier"):
        server.start(tmp_path)
    assert server.state == {"run": "", "address": ""}
