"""The machine as headstart sees it: never fewer than one core, a cache in the folder named, devices that exist."""

from __future__ import annotations

import gc
import os
import platform
import shutil
import threading
import weakref
from collections.abc import Iterator
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


@pytest.fixture
def collector_on() -> Iterator[None]:
    """The garbage collector is on during the test, and as it was after it."""
    was_on = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if was_on else gc.disable)()


class _Value:
    """Something that can be in a cycle."""

    itself: _Value | None = None


@pytest.mark.slow
def test_no_search_for_cycles_begins_inside(collector_on: None) -> None:
    searches: list[int] = []

    def count(phase: str, info: dict[str, int]) -> None:
        searches.append(info["generation"])

    gc.callbacks.append(count)
    try:
        with runtime.collection_paused():
            searches.clear()
            kept = [[i] for i in range(50_000)]
            inside = len(searches)
        kept += [[i] for i in range(50_000)]
    finally:
        gc.callbacks.remove(count)

    assert inside == 0
    assert searches  # it goes on after it
    assert len(kept) == 100_000


def test_what_nobody_uses_is_freed_inside_and_cycles_after_it(collector_on: None) -> None:
    with runtime.collection_paused():
        plain, cycle = _Value(), _Value()
        cycle.itself = cycle
        gone, held = weakref.ref(plain), weakref.ref(cycle)
        del plain, cycle
        assert gone() is None
        assert held() is not None
    gc.collect()
    assert held() is None


def test_it_is_on_again_after_an_error_and_after_the_outermost_of_several(collector_on: None) -> None:
    with pytest.raises(ZeroDivisionError), runtime.collection_paused():
        _ = 1 / 0
    assert gc.isenabled()

    with runtime.collection_paused():
        with runtime.collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_stays_off_for_someone_who_had_turned_it_off(collector_on: None) -> None:
    gc.disable()

    with runtime.collection_paused():
        assert not gc.isenabled()

    assert not gc.isenabled()


def test_the_last_of_several_threads_turns_it_on(collector_on: None) -> None:
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with runtime.collection_paused():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=work)
    with runtime.collection_paused():
        thread.start()
        entered.wait(60)
    assert not gc.isenabled()  # the other one is inside

    leave.set()
    thread.join(60)
    assert gc.isenabled()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems give memory back by themselves")
def test_memory_that_a_thread_has_used_goes_back_to_the_system() -> None:
    kept: list[bytearray] = []

    def work() -> None:
        blocks = [bytearray(b"x" * 50_000) for _ in range(2000)]  # 100 MB, each below what glibc maps alone
        kept.extend(blocks[::50])  # some stay, between those that are freed

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    before = _resident()

    runtime.return_memory()

    assert len(kept) == 40
    assert before - _resident() > 50e6


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
