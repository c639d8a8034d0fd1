"""launch: the studio as a process: it prints one address, answers there, keeps what it was given, and stops."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from headstart.errors import HeadstartError
from headstart.studio.launch import launch
from studio.studio_client import lay_images, png


def test_a_port_that_is_taken_and_a_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))  # it says how threads wait
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(HeadstartError, match="port"):
        launch(tmp_path / "p", port=taken.getsockname()[1], open_browser=False)
    (tmp_path / "f").write_text("")
    with pytest.raises(HeadstartError, match="folder"):
        launch(tmp_path / "f", open_browser=False)


def test_threads_do_not_spin_unless_the_user_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("")
    for given, expected in (({}, ("PASSIVE", "1")), ({"OPENBLAS_NUM_THREADS": "8"}, ("PASSIVE", "8"))):
        known = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENBLAS_"))}
        monkeypatch.setattr(os, "environ", known | given)
        with pytest.raises(HeadstartError, match="folder"):
            launch(tmp_path / "f", open_browser=False)
        assert (os.environ["OMP_WAIT_POLICY"], os.environ["OPENBLAS_NUM_THREADS"]) == expected


def start(folder: Path) -> tuple[subprocess.Popen[str], int, str]:
    command = [sys.executable, "-m", "headstart", "studio", str(folder), "--port", "0", "--no-browser", "--offline"]
    process = subprocess.Popen([*command, "--backbone", "embedded"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, env=os.environ | {"COLUMNS": "80"})  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
            return process, int(found[1]), found[2]
    raise AssertionError("no address")


def ask(port: int, method: str, path: str, cookie: str = "", body: bytes = b"") -> tuple[int, str, bytes]:
    """Status, the cookie that is set, and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"cookie": cookie, "origin": f"http://127.0.0.1:{port}", "content-type": "application/octet-stream"}
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, str(answer.getheader("set-cookie")).partition(";")[0], answer.read()
    finally:
        connection.close()


def stop(process: subprocess.Popen[str], by: signal.Signals) -> int:
    process.send_signal(by)
    code = process.wait(40)
    assert process.stdout is not None
    process.stdout.close()
    return code


@pytest.mark.slow
def test_it_answers_and_what_was_added_outlives_a_kill(tmp_path: Path) -> None:
    folder = lay_images(tmp_path / "p", ants=2, bees=2)
    process, port, token = start(folder)
    try:
        _, cookie, _ = ask(port, "GET", f"/?token={token}")
        assert ask(port, "GET", "/api/state")[0] == 401
        for seed in range(5):
            assert ask(port, "POST", "/api/images?label=ants&name=n.png", cookie, png(500 + seed))[0] == 200
        stop(process, signal.SIGKILL)

        process, port, token = start(folder)
        _, cookie, _ = ask(port, "GET", f"/?token={token}")
        classes = json.loads(ask(port, "GET", "/api/state", cookie)[2])["classes"]
        assert {each["name"]: each["images"] for each in classes} == {"ants": 7, "bees": 2}
        assert stop(process, signal.SIGINT) in (0, 130)
    finally:
        stop(process, signal.SIGKILL)  # its output is closed, or a later test in this process is blamed for it
