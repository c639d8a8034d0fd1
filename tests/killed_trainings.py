"""Trainings that are killed at seeded moments and then resumed or begun again, compared with one left alone.

A training is a forked child of a process that has imported everything, so that a trial costs a second and not ten.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import headstart as hs
import headstart.cli.terminal
import headstart.workbench.resume
import headstart.workbench.train
from drawn_photos import draw_folder
from headstart.cli.main import main
from headstart.workbench.selftest import weights_of

STRATEGIES = ("probe", "last-stage", "full")
_OPTIONS = [
    *("--backbone", "embedded", "--engine", "eager", "--step-precision", "float32"),  # nothing chosen by its time
    *("--offline", "--no-inside", "--quiet", "--epochs", "4", "--checkpoint-every", "0"),
]
_PATIENCE = 180.0  # seconds after which a training counts as one that hangs
_MOST_KILLS = 3  # of one trial


@dataclass(frozen=True)
class Trial:
    """One training: how often it was killed, and what was wrong in the end."""

    strategy: str
    kills: int
    faults: tuple[str, ...]


class Killer:
    """A folder with photos and, for each strategy, the weights and the seconds of a training left alone."""

    def __init__(self, place: Path, seed: int, strategies: Sequence[str] = STRATEGIES) -> None:
        self.place, self.random, self.strategies = place, random.Random(seed), strategies
        torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
        self.photos = draw_folder(place / "photos", per_class=8)
        self.alone: dict[str, tuple[str, float]] = {}
        for strategy in strategies:
            began = time.monotonic()
            code = self._wait(self._start(place / strategy, strategy, resume=False), None)
            assert code == 0, (place / strategy / "log").read_text()
            seconds = time.monotonic() - began
            self.alone[strategy] = (weights_of(hs.Run.load(place / strategy / "run")), seconds)

    def trial(self, number: int) -> Trial:
        """Kill a training, go on with it, and look at what there is in the end."""
        strategy = self.strategies[number % len(self.strategies)]
        expected, seconds = self.alone[strategy]
        folder = self.place / f"trial-{number}"
        faults, kills, resume, code = set[str](), 0, False, -1
        while True:
            moment = self.random.uniform(0, seconds) if kills < _MOST_KILLS and code else None
            number_of_signal = self.random.choice((signal.SIGKILL, signal.SIGTERM))
            before = set(_left(folder, resumable=True))  # of an earlier SIGKILL
            began = time.monotonic()
            code = self._wait(self._start(folder, strategy, resume=resume), moment, number_of_signal)
            if code not in (-signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM):
                if moment is not None and not resume:  # it ended before that: the machine is faster than it was
                    self.alone[strategy] = expected, min(seconds, time.monotonic() - began)
                break
            kills += 1
            resume = any((folder / ".run.unfinished").glob("checkpoint*.pth")) and not (folder / "run").exists()
            if code == 128 + signal.SIGTERM and (left := set(_left(folder, resumable=True)) - before):
                print(left, file=sys.stderr)
                faults.add("leftovers")  # SIGTERM gives time to clean up
        if code is None:
            faults.add("hang")
        faults |= self._look(folder, strategy, expected)
        shutil.rmtree(folder, ignore_errors=True)
        return Trial(strategy, kills, tuple(sorted(faults)))

    def _look(self, folder: Path, strategy: str, expected: str) -> set[str]:
        found = set()
        log = (folder / "log").read_text("utf-8", "replace")
        if "Traceback" in log:
            found.add("traceback")
            print(log[-2000:], file=sys.stderr)
        if not (folder / "run").is_dir():
            print(log[-500:], file=sys.stderr)
            return found | {"no run"}
        run = hs.Run.load(folder / "run")
        if weights_of(run) != expected:
            print(_difference(hs.Run.load(self.place / strategy / "run"), run), file=sys.stderr)
            found.add("other weights")
        if left := _left(folder, resumable=False):
            print(left, file=sys.stderr)
            found.add("leftovers")
        return found

    def _start(self, folder: Path, strategy: str, *, resume: bool) -> int:
        folder.mkdir(exist_ok=True)
        out = str(folder / "run")
        begin = ["train", str(self.photos), "--strategy", strategy, "--force", "--out", out, *_OPTIONS]
        arguments = ["resume", out, "--quiet"] if resume else begin
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.environ["HEADSTART_CACHE"] = str(folder / "cache")
            log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
            main(arguments)
        except SystemExit as left:
            code = int(left.code or 0)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)

    @staticmethod
    def _wait(child: int, moment: float | None, number: int = signal.SIGKILL) -> int | None:
        """The exit code, negative for a signal; None for a training that hangs."""
        began, is_sent = time.monotonic(), moment is None
        while time.monotonic() - began < _PATIENCE:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if not is_sent and moment is not None and time.monotonic() - began >= moment:
                os.kill(child, number)
                is_sent = True
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None


def _difference(alone: hs.Run, killed: hs.Run) -> str:
    """What tells two runs with other weights apart: the farthest weight of head and network, and the plans."""
    one, other = alone.classifier, killed.classifier
    head = f"head {abs(one.head.weight - other.head.weight).max():.2g}"
    tensors = other.backbone.state()
    apart = {name: float((tensor - tensors[name]).abs().max()) for name, tensor in one.backbone.state().items()}
    worst = max(apart, key=lambda name: apart[name])
    plans = [json.loads((run.folder / "run.json").read_text()).get("fine_tuning") for run in (alone, killed)]
    return f"{head}; {worst} {apart[worst]:.2g}; {plans}"


def _left(folder: Path, *, resumable: bool) -> list[str]:
    """Hidden and partial files; an unfinished job only where it may be there."""
    names = [path for path in folder.rglob("*") if path.name.startswith(".") or ".part" in path.name]
    names = [path for path in names if not (resumable and path.name == ".run.unfinished")]
    return sorted(str(path.relative_to(folder)) for path in names if "cache" not in path.relative_to(folder).parts[:1])
