"""ServerProcess: `headstart serve` as a child of the studio, started and stopped from the page, ended with the studio.

The child watches its standard input, a pipe that the system closes when the studio ends, however it ends.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from headstart.errors import HeadstartError, RunError
from headstart.progress import Event, Notice
from headstart.workbench.serve import serve

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_START = 60.0  # seconds: importing and reading a classifier takes three on two cores
_END = 5.0  # seconds for requests under way


_COMMAND = (sys.executable, "-m", "headstart.studio.server_process")


class ServerProcess:
    """The server that runs, if one does; safe to use from several threads.

    Args:
        command: is given the folder of a run, and prints the address once it answers there.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._lock, self._command = threading.Lock(), command
        self._process: subprocess.Popen[str] | None = None
        self._run, self._address = "", ""

    @property
    def state(self) -> dict[str, str]:
        """`run` that is served and its `address`; both empty where no server runs."""
        is_on = self._process is not None and self._process.poll() is None
        return {"run": self._run, "address": self._address} if is_on else {"run": "", "address": ""}

    def start(self, run: Path) -> dict[str, str]:
        """Serve a run on a free port of 127.0.0.1, in place of another one; the state.

        Raises:
            RunError: the server does not start, with its last words.
        """
        with self._lock:
            self._end()
            pipe, command = subprocess.PIPE, [*self._command, str(run)]
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
            late = threading.Timer(_START, process.kill)
            late.start()
            try:
                address, said = _address_of(process)
            finally:
                late.cancel()
            if not address:
                process.kill()
                _close(process)
                _drain(process)
                raise RunError(expected="a server that starts", found=said or "no address", where=run)
            # what it says later is read, or it would wait for a reader once the pipe is full
            threading.Thread(target=_drain, args=(process,), daemon=True).start()
            self._process, self._run, self._address = process, run.name, address
            return self.state

    def stop(self) -> dict[str, str]:
        """End the server, if one runs; the state."""
        with self._lock:
            self._end()
            return self.state

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
        _close(process)


def _close(process: subprocess.Popen[str]) -> None:
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _address_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """The address that a server prints; empty, with its last line, where it ends before."""
    last = ""
    for line in process.stdout or ():
        if found := _ADDRESS.search(line):
            return found[0], line
        last = line.strip() or last
    return "", last


def _drain(process: subprocess.Popen[str]) -> None:
    if process.stdout is not None:
        with process.stdout as lines:
            for _ in lines:
                continue


def main(run: str) -> int:
    """Serve a run until standard input ends; the status of the process."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):  # the studio writes nothing: it has ended. No lock is held, as by read()
            continue
        signal.raise_signal(signal.SIGINT)

    def on_event(event: Event) -> None:
        if isinstance(event, Notice):
            print(event.text, flush=True)

    threading.Thread(target=watch, daemon=True).start()
    try:
        serve(run, port=0, on_event=on_event)
    except HeadstartError as error:
        print(" ".join(str(error).split()), flush=True)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
