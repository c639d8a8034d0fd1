"""Engines that run a job over many items: worker processes here, Ray or Spark; and which one is meant.

A job is a value that any worker can be sent. Its `make()` is called once in each worker and gives the function over
items, so that a network is loaded once; its results may come in any order. Only descriptions of shards and small
results pass between processes: workers read images where they lie.
"""

from __future__ import annotations

import importlib
import importlib.util
import socket
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from headstart import runtime
from headstart.errors import RecipeError, RunError, first_line, near

ENGINES = ("local", "ray", "spark")
HELD_OUT = ("left-out", "folds")
_ANSWERS = 5.0  # seconds until a cluster's port has answered


class Job(Protocol):
    """Work that is the same for every item."""

    def make(self) -> Callable[[Any], Any]:
        """The function from an item to its result; called once in each worker."""
        ...


class Engine(Protocol):
    """Runs a job over items on workers that stay between jobs.

    Attributes:
        workers: how many.
    """

    @property
    def workers(self) -> int:
        """How many."""
        ...

    def map(self, job: Job, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(number of the item, its result) in the order in which they finish.

        Raises:
            RunError: workers died again and again. HeadstartError: what the job raised.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where the work of a verb runs, beside this process.

    Args:
        engine: local (processes of this machine), ray or spark.
        processes: workers; 0: one for each core of this machine, or what the cluster has.
        address: of a running cluster of Ray, or of a Spark master; empty: one is started on this machine.
        shards: folder that all workers can write, for the results of shards: a second call resumes there; None: in the
            cache of this machine.
        held_out: how a training chooses lambda: `left-out` as on one machine, each image or group left out in turn; or
            `folds`, five folds of whole groups, from statistics alone: less to send where groups span many shards.

    Raises:
        RecipeError: there is no such engine, or an option does not belong to it.
    """

    engine: str = "local"
    processes: int = 0
    address: str = ""
    shards: Path | None = None
    held_out: str = "left-out"

    def __post_init__(self) -> None:
        for name, value, known in (("on", self.engine, ENGINES), ("held-out", self.held_out, HELD_OUT)):
            if not isinstance(value, str) or value not in known:
                hint = near(str(value), known)
                raise RecipeError(
                    expected=f"one of {', '.join(known)}", found=repr(value), where=f"--{name}", hint=hint
                )
        if (
            isinstance(self.processes, bool)
            or not isinstance(self.processes, int)
            or not 0 <= self.processes <= 100_000
        ):
            raise RecipeError(expected="a number of at least 0", found=repr(self.processes), where="--processes")
        if not isinstance(self.address, str):
            raise RecipeError(expected="an address as text", found=repr(self.address), where="--address")
        if not isinstance(self.shards, (str, Path, type(None))):
            raise RecipeError(expected="a folder", found=repr(self.shards), where="--shards")
        if self.address and self.engine == "local":
            raise RecipeError(
                expected="--on ray or spark, which have an address",
                found="--on local",
                where="--address",
                hint="Leave out --address: local workers are processes of this machine.",
            )

    @property
    def folder(self) -> Path:
        """Where the results of shards are kept."""
        return Path(self.shards) if self.shards is not None else runtime.cache_folder() / "shards"

    def start(self) -> AbstractContextManager[Engine]:
        """The engine, whose workers end with the block.

        Raises:
            RecipeError: its package is not installed. RunError: there is no cluster at the address.
        """
        check_reachable(self.address, where="--address")
        module = importlib.import_module(f"headstart.distributed.{self.engine}")  # ray: only when asked for
        started: AbstractContextManager[Engine] = module.start(self.processes, self.address)
        return started


On = str | Cluster
"""Where a verb's work runs: local, ray, spark, or a Cluster with more to say."""


def cluster_of(on: On) -> Cluster:
    """The cluster that is meant.

    Raises:
        RecipeError: there is no such engine, or pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise RecipeError(
            expected="the package pyarrow, for --on",
            found="not installed",
            where="--on",
            hint='pip install "headstart[distributed]"',
        )
    if isinstance(on, Cluster):
        return on
    if not isinstance(on, str):
        raise RecipeError(expected="local, ray, spark or a Cluster", found=type(on).__name__, where="on")
    return Cluster(engine=on)


def check_reachable(address: str, *, where: str) -> None:
    """Refuse a `host:port` or `scheme://host:port` at which nothing listens: engines try again for minutes.

    Raises:
        RunError: nothing does within five seconds.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit() or "," in host:  # `auto`, `local[2]`, `yarn`, several masters: the engine knows
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS).close()
    except (OSError, OverflowError) as error:
        hint = "Check host and port, and that the cluster runs."
        raise no_workers(error, expected=f"a cluster that answers at {address}", where=where, hint=hint) from error


def no_workers(error: BaseException, *, expected: str, where: str, hint: str = "") -> RunError:
    """The error for a cluster that cannot be reached, or has lost the workers of an item again and again."""
    return RunError(expected=expected, found=first_line(error), where=where, hint=hint)


_made: dict[Hashable, Callable[[Any], Any]] = {}  # in a worker: the function of the job that runs


def function_of(key: Hashable, job: Callable[[], Job]) -> Callable[[Any], Any]:
    """In a worker: the function of a job, made when its first item comes and kept until another job's.

    Args:
        key: tells the jobs of a worker apart. job: gives the job, which may have to be read.
    """
    if key not in _made:
        import torch  # here, so that the command line's help needs none

        torch.set_num_threads(1)  # each worker is one core's
        _made.clear()
        _made[key] = job().make()
    return _made[key]


def run_item(key: Hashable, job: Job, item: Any) -> Any:
    """In a worker: the result of one item."""
    return function_of(key, lambda: job)(item)


def missing_package(name: str) -> RecipeError:
    """The error for an engine whose package is not installed."""
    return RecipeError(
        expected=f"the package of --on {name}",
        found="not installed",
        where=f"--on {name}",
        hint=f'pip install "headstart[{name}]", or use --on local.',
    )
