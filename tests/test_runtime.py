"""The machine as headstart sees it: never fewer than one core, a cache in the folder named, devices that exist."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from headstart import runtime
from headstart.errors import RecipeError


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "here"))
    assert runtime.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("HEADSTART_CACHE")
    assert runtime.cache_folder().name == "headstart"


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= runtime.cores() <= (os.cpu_count() or 1)


def test_free_space_is_asked_of_the_disk_that_will_hold_a_folder(tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)
    assert 0 < runtime.free_bytes(tmp_path / "not" / "there" / "yet") <= usage.total


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the system does not say how much memory is free")
def test_free_memory_is_less_than_all_memory() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < runtime.free_memory() < total


@pytest.mark.parametrize("name", ["tpu", "cpu:1", "cuda:99", "cuda:x", ""])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="a device of this machine"):
        runtime.choose_device(name)


def test_the_cpu_is_always_here_and_versions_name_what_changes_numbers() -> None:
    assert runtime.choose_device("cpu") == "cpu"
    assert {"python", "system", "headstart", "torch", "numpy"} <= set(runtime.versions())


def test_torchrun_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert runtime.torchrun_size() == 1
    monkeypatch.setenv("WORLD_SIZE", "4")  # alone it is another program's
    assert runtime.torchrun_size() == 1
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert runtime.torchrun_size() == 4
