"""The engine `ray`: tasks in worker processes that Ray keeps and that open a network once; Ray repeats lost tasks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from headstart.distributed.engine import Job, missing_package, no_workers, run_item
from headstart.errors import HeadstartError

_AHEAD = 2  # tasks sent for each worker, so that none waits
_RETRIES = 3  # of a task whose worker or node was lost: then the item kills its worker, and not somebody's hand
_STORE_BYTES = 500_000_000  # of a cluster that is started here: jobs and statistics; /dev/shm of containers is small


@contextlib.contextmanager
def start(processes: int, address: str) -> Iterator[RayEngine]:
    """A running cluster at an address, or one of this machine, which ends with the block."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise missing_package("ray") from error
    own = not ray.is_initialized()
    if own:
        here = {"include_dashboard": False, "num_cpus": processes or None, "object_store_memory": _STORE_BYTES}
        env, extra = {"env_vars": {"OMP_NUM_THREADS": "1"}}, {} if address else here
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", runtime_env=env, **extra)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise no_workers(error, expected="a Ray cluster", where=address or "--on ray") from error
    try:
        yield RayEngine(ray, processes)
    finally:
        if own:
            ray.shutdown()


class RayEngine:
    """Runs a job as tasks."""

    def __init__(self, ray: Any, processes: int) -> None:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        self.workers = processes or gpus or max(1, int(resources.get("CPU", 1)))
        self._ray, self._jobs = ray, 0
        # max_calls: a worker with a GPU would else end after each task, and its network with it
        options = {"num_cpus": 1, "num_gpus": 1 if gpus else 0, "max_calls": 0, "max_retries": _RETRIES}
        self._task = ray.remote(**options)(run_item)

    def map(self, job: Job, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(number of the item, its result) as they finish.

        Raises:
            RunError: an item's worker was lost each time that it was tried.
        """
        self._jobs += 1
        sent, waiting, running = self._ray.put(job), iter(enumerate(items)), {}
        while True:
            for number, item in waiting:
                running[self._task.remote(self._jobs, sent, item)] = number
                if len(running) >= _AHEAD * self.workers:
                    break
            if not running:
                return
            (done,), _ = self._ray.wait(list(running), num_returns=1)
            yield running.pop(done), self._result(done)

    def _result(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, HeadstartError) else error) from None
        except self._ray.exceptions.RayError as error:
            hint = "Mostly the memory is full: use fewer --processes."
            raise no_workers(error, expected="workers that live", where="--on ray", hint=hint) from error
