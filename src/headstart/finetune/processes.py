"""Fine-tuning in several processes: started here, or by torchrun; each trains the same task on its share of each batch.

The first process is the user's. It reads images, plans, writes and reports; the others wait for a task, train with it,
and end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.distributed.rendezvous import rendezvous

from headstart import runtime
from headstart.errors import HeadstartError, RunError
from headstart.finetune.result import FineTuneResult
from headstart.finetune.settings import FineTuneTask, no_report
from headstart.finetune.strategies import STRATEGIES
from headstart.progress import no_progress
from headstart.training.process_group import LONG, ProcessGroup

_START = "from headstart.finetune.processes import member; member()"
_HOST, _INTERFACE = "127.0.0.1", "GLOO_SOCKET_IFNAME"
_READY, _NEXT, _PARENT = "ready", "next", "HEADSTART_PARENT"
_TRAIN, _DONE, _STOPPED = "train", "done ", "stopped"
_MOMENT = 0.1  # seconds between two looks at processes that start
_GRACE = 5.0  # seconds until the end of a process is seen

Train = Callable[[str, FineTuneTask], FineTuneResult]
"""(strategy, task) → its result."""


@contextlib.contextmanager
def together(count: int) -> Iterator[Train]:
    """The function that trains a task, in this process or with others, which end with the block.

    Args:
        count: of processes.

    Raises:
        RunError: another process ended.
    """
    if count <= 1:
        yield lambda strategy, task: STRATEGIES[strategy](task)
        return
    started = _spawned(count) if runtime.torchrun_size() == 1 else _of_torchrun()
    with started as group, _threads(count), group.joined():
        yield lambda strategy, task: _train(group, strategy, task)
        group.same(None)


def on_first(call: Callable[[], str]) -> str:
    """Under torchrun: the first process makes the call, the others train with it and get the same result.

    Args:
        call: gives the folder of a run.

    Raises:
        RunError: the first process stopped.
    """
    if runtime.torchrun_size() == 1:
        return call()
    _torchrun.begin()
    if int(os.environ["RANK"]):
        return _follow()
    word = _STOPPED
    try:
        folder = call()
        word = _DONE + folder
        return folder
    finally:
        _torchrun.announce(word)


def member() -> None:
    """The program of a process that `together` started: train what the first one sends, then end."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    threading.Thread(target=_end_with, args=(int(os.environ[_PARENT]),), daemon=True).start()
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    store.set(f"{_READY}/{rank}", "1")
    group = ProcessGroup(rank, size, store)
    try:
        _take_part(group)
    except HeadstartError as error:
        group.fail(error)
        sys.exit(2)


def _train(group: ProcessGroup, strategy: str, task: FineTuneTask) -> FineTuneResult:
    halvings = 0 if task.checkpoints is None else task.checkpoints.halvings
    settings = replace(task.settings, halvings=task.settings.halvings + halvings)
    quiet = {"report": no_report, "progress": no_progress, "fold_progress": no_progress}
    alone = {"checkpoints": None, "solve": None, **quiet}
    group.same((strategy, replace(task, settings=settings, **alone)))  # type: ignore[arg-type]
    return STRATEGIES[strategy](replace(task, group=group))


def _take_part(group: ProcessGroup) -> None:
    with group.joined():
        nothing: Any = None
        while (sent := group.same(nothing)) is not None:
            strategy, task = sent
            STRATEGIES[strategy](replace(task, group=group))


@contextlib.contextmanager
def _spawned(count: int) -> Iterator[ProcessGroup]:
    """A group of this process and new ones of this machine."""
    store, before = local_store(), os.environ.get(_INTERFACE)
    # programs of their own and no forks: those hang with threads, and a script of the user need not be importable
    shared = {
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count)),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        _PARENT: str(os.getpid()),
        **_loopback(),
    }
    others = []
    try:
        os.environ.update(_loopback())  # of this process's own connections
        for rank in range(1, count):
            others.append(
                subprocess.Popen(
                    [sys.executable, "-c", _START],
                    env={**os.environ, **shared, "RANK": str(rank)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C reaches this process, which ends them
                )
            )
        group = ProcessGroup(0, count, store, why_gone=lambda: _gone(others))
        _wait_for(store, others)
        yield group
    finally:  # they have done their work, or it is lost: nobody waits until an interpreter has tidied up
        for process in others:
            process.kill()
            process.wait()
        os.environ.pop(_INTERFACE, None)
        if before is not None:
            os.environ[_INTERFACE] = before


def local_store() -> TCPStore:
    """A store that only this machine reaches: torch's own listens on every address, and its messages are unpickled."""
    listener = socket.create_server((_HOST, 0))
    port = listener.getsockname()[1]
    return TCPStore(_HOST, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())


def _loopback() -> dict[str, str]:
    """The environment in which gloo's connections, too, stay on this machine."""
    if os.name == "nt":  # there gloo takes no name of an interface
        return {}
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return {_INTERFACE: names[0]} if names else {}


def _wait_for(store: TCPStore, others: list[subprocess.Popen[bytes]]) -> None:
    """Until all others have started: the meeting itself would wait for one that never comes."""
    while not store.check([f"{_READY}/{rank}" for rank in range(1, len(others) + 1)]):
        if any(process.poll() is not None for process in others):
            raise RunError(
                expected="processes that start", found=_gone(others), where="--processes", hint="Use --processes 1."
            )
        time.sleep(_MOMENT)


def _gone(others: list[subprocess.Popen[bytes]]) -> str:
    """Words for those that ended, which may take a moment to be seen."""
    until = time.monotonic() + _GRACE
    while time.monotonic() < until:
        for rank, process in enumerate(others, 2):
            if (code := process.poll()) is not None:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                return f"process {rank} of {len(others) + 1} that {how}"
        time.sleep(_MOMENT)
    return "one that does not answer"


def _end_with(parent: int) -> None:
    """End this process when its parent was killed: nobody else would."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class _Torchrun:
    """What the processes of torchrun say to each other between trainings; verbs are called in the same order in all."""

    def __init__(self) -> None:
        self._calls = self._turn = 0
        self.store: Any = None

    def begin(self) -> None:
        """A verb begins."""
        self._calls += 1
        self._turn = 0
        given, _, _ = next(rendezvous("env://", timeout=LONG))
        self.store = PrefixStore(f"headstart/{self._calls}", given)

    def announce(self, word: str) -> int:
        """Tell the others what comes next; the number of the turn."""
        self._turn += 1
        with contextlib.suppress(RuntimeError):  # the others are gone
            self.store.set(f"{_NEXT}/{self._turn}", word)
        return self._turn

    def hear(self) -> tuple[int, str]:
        """Wait for what comes next: the number of the turn, and the word.

        Raises:
            RunError: the first process has gone.
        """
        self._turn += 1
        try:
            self.store.wait([f"{_NEXT}/{self._turn}"], LONG)
            return self._turn, self.store.get(f"{_NEXT}/{self._turn}").decode()
        except RuntimeError as error:
            raise _STOP from error

    def group(self, turn: int) -> ProcessGroup:
        """The group of a training."""
        return ProcessGroup(int(os.environ["RANK"]), runtime.torchrun_size(), PrefixStore(str(turn), self.store))


_torchrun = _Torchrun()
_STOP = RunError(expected="a finished training", found="one that stopped", where="the first process of torchrun")


@contextlib.contextmanager
def _of_torchrun() -> Iterator[ProcessGroup]:
    yield _torchrun.group(_torchrun.announce(_TRAIN))


def _follow() -> str:
    """Train whenever the first process does, until it has the run's folder."""
    while True:
        turn, word = _torchrun.hear()
        if word.startswith(_DONE):
            return word.removeprefix(_DONE)
        if word == _STOPPED:
            raise _STOP
        group = _torchrun.group(turn)
        try:
            with _threads(1):
                _take_part(group)
        except HeadstartError as error:
            group.fail(error)
            raise


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """This process's share of the cores of this machine."""
    given = torch.get_num_threads()
    under = runtime.torchrun_size() > 1  # which sets one thread where the user sets none
    share = runtime.cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1) if under else given // count
    torch.set_num_threads(max(1, share))
    try:
        yield
    finally:
        torch.set_num_threads(given)
