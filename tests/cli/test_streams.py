"""A command's work does not depend on who reads its output; SIGTERM ends it as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and signals of POSIX")


def slow(*values: object) -> object:
    """One more way to the same end, which is tried in CI."""
    return pytest.param(*values, marks=pytest.mark.slow)


WORK = """
import sys, time
from pathlib import Path
from headstart.cli import main as cli
from headstart.errors import RunError

def work(arguments):
    for number in range(200):
        print("x" * 1000, "✗", flush=True)
        print("progress", file=sys.stderr, flush=True)
    Path(sys.argv[1]).write_text("done")
    return 0

cli._exit_code = work
cli.main([])
"""
WAIT = """
import signal, sys, time
from pathlib import Path
from headstart.cli import main as cli
from headstart.cli.command import _errors_shown

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that these are ignored
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

def wait():
    print("ready", flush=True)
    time.sleep(30)

def work(arguments):
    try:
        with _errors_shown({}):
            wait()
    except Exception:
        Path(sys.argv[1]).write_text("cleaned")
        return 130

cli._exit_code = work
cli.main([])
"""


def shell(code: str, done: Path, redirect: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = f'"$0" -c "$CODE" "$1" {redirect}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, str(done)],
        env={**os.environ, "CODE": code, **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )


@posix
@pytest.mark.parametrize("redirect", ["2>&1 | head -1", *map(slow, ("| head -1", ">&-", "2>&-", ">&- 2>&-"))])
def test_the_work_is_done_whether_somebody_reads_or_not(redirect: str, tmp_path: Path) -> None:
    answer = shell(WORK, tmp_path / "done", f"{redirect}; exit ${{PIPESTATUS[0]}}")

    assert (tmp_path / "done").read_text() == "done"
    assert answer.returncode == 0
    assert b"Traceback" not in answer.stderr
    assert b"Exception ignored" not in answer.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_said_when_the_work_is_done(tmp_path: Path) -> None:
    answer = shell(WORK, tmp_path / "done", "> /dev/full")

    assert (tmp_path / "done").read_text() == "done"
    assert answer.returncode == 2
    assert b"No space left on device" in answer.stderr
    assert b"Traceback" not in answer.stderr


@posix
@pytest.mark.parametrize("encoding", ["ascii", *map(slow, ("cp1252", "latin-1"))])
def test_a_character_that_the_terminal_lacks_is_escaped(encoding: str, tmp_path: Path) -> None:
    answer = shell(WORK, tmp_path / "done", "", PYTHONIOENCODING=encoding)

    assert answer.returncode == 0
    assert b"\\u2717" in answer.stdout


@posix
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), slow(signal.SIGHUP, 129), slow(signal.SIGINT, 130), slow(signal.SIGXCPU, 152)],
)
def test_a_signal_cleans_up_and_gives_the_usual_exit_code(number: signal.Signals, code: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT, str(tmp_path / "cleaned")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=30)

    assert process.returncode == code
    assert (tmp_path / "cleaned").read_text() == "cleaned"
    assert b"Stopped." in told
    assert b"Traceback" not in told


@pytest.mark.slow
@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_compiled_code_makes_an_error_of_its_own_is_no_failure(number: signal.Signals, code: int) -> None:
    wait = """
def wait():
    try:
        print("ready", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        raise ImportError("initialization failed")  # as matplotlib's _backend_agg, made by pybind11
cli._exit_code = lambda arguments: wait()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT.replace("cli.main([])", f"{wait}cli.main([])")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=30)

    assert process.returncode == code
    assert b"Stopped." in told
    assert b"Traceback" not in told
