"""Calls in forked children: each has a place to itself, changes nothing here, and a failure is said."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from docs_modules import load


@pytest.fixture
def forked() -> ModuleType:
    return load("forked")


def writes(folder: Path, name: str) -> Callable[[int], None]:
    def call(place: int) -> None:
        os.environ["HEADSTART_FORKED"] = name
        with (folder / f"place-{place}").open("x"):  # which fails, if another call has the place
            time.sleep(0.01)
        (folder / f"place-{place}").unlink()
        (folder / name).write_text(str(os.getpid()))

    return call


@pytest.mark.slow
def test_each_call_has_a_process_and_a_place_of_its_own(forked: ModuleType, tmp_path: Path) -> None:
    forked.run_all({f"call-{number}": writes(tmp_path, f"call-{number}") for number in range(6)}, 2)

    processes = {path.read_text() for path in tmp_path.iterdir()}
    assert len(processes) == len(list(tmp_path.iterdir())) == 6
    assert str(os.getpid()) not in processes
    assert "HEADSTART_FORKED" not in os.environ


def test_a_call_that_fails_is_an_error_here(
    forked: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(place: int) -> None:
        raise ValueError(f"at place\n{place}")

    with pytest.raises(RuntimeError, match=r"^1 of 2 calls failed: gallery: ValueError: at place 0$"):
        forked.run_all({"gallery": fails, "next": writes(tmp_path, "never")}, 1)
    assert "ValueError: at place\n0" in capfd.readouterr().err
    assert not (tmp_path / "never").exists()


@pytest.mark.slow
def test_a_child_that_dies_without_a_word_is_named(forked: ModuleType) -> None:
    calls = {"killed": lambda place: os.kill(os.getpid(), signal.SIGKILL), "left": lambda place: os._exit(3)}
    with pytest.raises(RuntimeError, match="killed: killed by SIGKILL"):
        forked.run_all({"killed": calls["killed"]}, 1)
    with pytest.raises(RuntimeError, match="left: exit code 3"):
        forked.run_all({"left": calls["left"]}, 1)


def test_calls_run_here_where_nothing_can_be_forked(
    forked: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked.multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setenv("HEADSTART_FORKED", "")
    forked.run_all({"one": writes(tmp_path, "one")}, 2)
    assert (tmp_path / "one").read_text() == str(os.getpid())
