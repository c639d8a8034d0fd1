"""Worker processes: results as they finish, and no worker that outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from headstart.distributed.worker_pool import end_workers, results, worker_pool

KILLED_PARENT = """
import os, time
from headstart.distributed.worker_pool import worker_pool
if __name__ == "__main__":
    print(worker_pool(1).submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


@pytest.mark.slow  # worker processes start
def test_results_come_by_their_numbers_and_a_dead_worker_is_an_error() -> None:
    pool = worker_pool(2)
    try:
        found = dict(results(pool, pow, {number: (number, 2) for number in range(9)}, workers=2))
        assert found == {number: number * number for number in range(9)}
        with pytest.raises(BrokenProcessPool):
            list(results(pool, os._exit, {0: (1,)}, workers=2))
    finally:
        end_workers(pool, idle=False)


@pytest.mark.slow  # as above
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not list its processes there")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(KILLED_PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert _runs(worker)
        parent.send_signal(signal.SIGKILL)
    for _ in range(600):
        if not _runs(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
