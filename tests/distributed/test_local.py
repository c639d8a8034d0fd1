"""Worker processes: each item once, a job is opened once in each, and those that are killed are replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.distributed.local import start
from headstart.errors import DataError, RunError
from statistics_parts import check_statistics
from working_jobs import KilledJob, RefusingJob, SquareJob

SECOND_STARTS_SLOWLY = """
import os, pathlib, sys, time
if "--multiprocessing-fork" in sys.orig_argv:  # a worker, not the resource tracker
    folder = pathlib.Path(os.environ["STARTED_IN"])
    try:
        (folder / "first").touch(exist_ok=False)
    except FileExistsError:
        (folder / "second").touch()
        time.sleep(60)
        (folder / "awake").touch()
"""


@pytest.fixture(autouse=True)
def _workers_find_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow  # two worker processes import torch
def test_workers_do_each_item_once_and_are_replaced_when_killed(tmp_path: Path) -> None:
    with start(2, "") as engine:
        assert dict(engine.map(SquareJob(tmp_path), list(range(20)))) == {i: i * i for i in range(20)}
        assert 1 <= len(list(tmp_path.glob("made-*"))) <= 2
        with pytest.raises(DataError, match=r"an even number, found \d+ \(here\)\. Take another"):
            list(engine.map(RefusingJob(), [1]))
        assert dict(engine.map(KilledJob(tmp_path, (3, 7)), list(range(10)))) == {i: -i for i in range(10)}
        assert len(list(tmp_path.glob("killed-*"))) == 2
        check_statistics(engine, tmp_path)


@pytest.mark.slow  # as above, four times
def test_an_item_that_kills_every_worker_ends_the_job(tmp_path: Path) -> None:
    with start(1, "") as engine, pytest.raises(RunError, match="3 that were killed one after another"):
        list(engine.map(KilledJob(tmp_path, (0,), always=True), [0]))


UNGUARDED = """
import pathlib, sys
from headstart.distributed.local import start
from headstart.errors import RunError
from working_jobs import SquareJob

with start(2, "") as engine:
    try:
        print(dict(engine.map(SquareJob(pathlib.Path(sys.argv[1])), [1, 2])))
    except RunError as error:
        print(error)
"""


@pytest.mark.slow  # three processes import torch
def test_a_script_whose_workers_run_it_again_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)

    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=600)

    assert 'code 1 (--on local). In a script, call this below `if __name__ == "__main__":`' in done.stdout


@pytest.mark.slow  # a worker process imports torch
def test_the_end_does_not_wait_for_a_worker_that_is_still_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SECOND_STARTS_SLOWLY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("STARTED_IN", str(tmp_path))
    (tmp_path / "made").mkdir()
    with start(2, "") as engine:
        assert dict(engine.map(SquareJob(tmp_path / "made"), [1, 2, 3])) == {0: 1, 1: 4, 2: 9}
    assert (tmp_path / "first").exists()
    assert (tmp_path / "second").exists()
    assert not (tmp_path / "awake").exists()
