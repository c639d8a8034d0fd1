"""Commands of headstart in forked children: what a system in trouble does to them, at a second a trial and not ten.

The parent imports everything once. A child gets its arguments, its working folder, its cache and, where asked, other
streams, another user or a signal after some time; what it said, its exit code and what it left are looked at.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import headstart as hs
from headstart.cli.main import main

PATIENCE = 120.0
"""Seconds after which a command counts as one that hangs."""
_HELD_BACK = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (negative: a signal; None: it hung), its output, and its seconds."""

    code: int | None
    stdout: str
    stderr: str
    seconds: float

    @property
    def errors(self) -> int:
        """How many of our errors were shown."""
        return self.stderr.count("\n  expected: ") + self.stderr.startswith("  expected: ")

    def complaints(self, codes: Sequence[int]) -> list[str]:
        """What is wrong with it, where one of these exit codes was right."""
        found = []
        if self.code is None:
            found.append("hangs")
        elif self.code not in codes:
            found.append(f"exit code {self.code}")
        if "Traceback" in self.stdout + self.stderr or "Exception ignored" in self.stderr:
            found.append("traceback")
        if self.code == 2 and self.errors != 1:
            found.append(f"{self.errors} errors")
        if self.code == 2:
            found += [f"no {name}" for name in ("found", "where", "next") if f"\n  {name}: " not in self.stderr]
        return found


def warm() -> None:
    """Import what commands import, and keep to one thread: a forked process cannot use those of its parent."""
    torch.set_num_threads(1)
    for name in hs.__all__:
        getattr(hs, name)
    for package in (
        "onnx",
        "onnxruntime",
        "pyarrow.parquet",
        "torch.utils.tensorboard",
        "matplotlib.backends.backend_agg",
    ):
        with contextlib.suppress(ImportError):  # so that another user, who may not read Python's folder, has them
            importlib.import_module(package)


def run_command(  # one parameter for each thing that a system can do to a command
    arguments: Sequence[str],
    folder: Path,
    *,
    cache: Path,
    prepare: Callable[[], None] = lambda: None,
    signal_after: tuple[int, float] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Outcome:
    """Run one command in `folder`.

    Args:
        prepare: called in the child before the command: closes streams, becomes another user, and so on.
        signal_after: a signal, and the seconds after which it is sent.
        meanwhile: called again and again in the parent while the command runs.
    """
    logs = {number: folder.parent / f"{folder.name}.{name}" for number, name in ((1, "stdout"), (2, "stderr"))}
    began = time.monotonic()
    # CPython's own handlers of a fork run with signals blocked: one that is broken off leaves the lock of `logging`
    # held, and the first thread that logs waits for ever. A command that is started, not forked, has no such moment.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    child = os.fork()
    if not child:
        _child(arguments, folder, cache, logs, prepare)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
    code = _wait(child, began, signal_after, meanwhile)
    seconds = time.monotonic() - began
    said = [path.read_text("utf-8", "backslashreplace") if path.exists() else "" for path in logs.values()]
    for path in logs.values():
        path.unlink(missing_ok=True)
    return Outcome(code, said[0], said[1], seconds)


def _child(
    arguments: Sequence[str], folder: Path, cache: Path, logs: dict[int, Path], prepare: Callable[[], None]
) -> None:  # five: what a child is made of
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as the process is before it has begun
            signal.signal(number, signal.SIG_DFL)
        os.environ["HEADSTART_CACHE"] = str(cache)
        os.chdir(folder)
        for stream, path in logs.items():
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), stream)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        prepare()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main(arguments)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        with contextlib.suppress(OSError):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _wait(
    child: int, began: float, signal_after: tuple[int, float] | None, meanwhile: Callable[[], None] | None
) -> int | None:
    is_sent = signal_after is None
    while time.monotonic() - began < PATIENCE:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if not is_sent and signal_after is not None and time.monotonic() - began >= signal_after[1]:
            os.kill(child, signal_after[0])
            is_sent = True
        if meanwhile is not None:
            meanwhile()
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def everything(folder: Path) -> set[str]:
    """Names of all that is below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def unfinished(folder: Path) -> set[str]:
    """Names below a folder of hidden, partial and new things, as a killed process may leave them."""
    return {
        name
        for name in everything(folder)
        if any(part.startswith(".") or part.endswith((".part", ".new")) for part in Path(name).parts)
    }


def clear(folder: Path) -> None:
    """Remove all that a folder holds."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
