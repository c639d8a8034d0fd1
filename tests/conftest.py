"""Shared fixtures: the real data where there is some, a private cache for every test, no network."""

from __future__ import annotations

import atexit
import gc
import ipaddress
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from trained_runs import exported, fine_tuned, fine_tuned_folder, photos, run, run_events, run_folder, shared

__all__ = [  # fixtures
    "exported",
    "fine_tuned",
    "fine_tuned_folder",
    "photos",
    "run",
    "run_events",
    "run_folder",
    "shared",
]

# pytest's controller and `--collect-only` read this file too: what needs torch is imported inside a fixture


gc.disable()  # while tests are collected: imports make millions of values that stay


def pytest_collection_finish() -> None:
    """What imports have made stays out of garbage collection, of which pytest alone does five full ones at its end."""
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # the interpreter takes its modules down as always


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real images and weights; the test is skipped with a word when it is not there."""
    named = os.environ.get("HEADSTART_TEST_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("real data not found: set HEADSTART_TEST_DATA to the folder that holds it")
    return Path(named)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_shared_fixtures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fixtures of a whole module are made before a test has its own cache; the user's is never touched."""
    os.environ["HEADSTART_CACHE"] = str(tmp_path_factory.mktemp("shared-cache"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache for this test alone, but for exported networks, which take seconds to make and are named by content.

    It lies outside of the test's own folder, which must be empty at the beginning.
    """
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HEADSTART_CACHE", str(cache))
    exports = shared / "exported-networks"
    exports.mkdir(exist_ok=True)
    (cache / "onnx").symlink_to(exports)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine can be reached from a test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and not _is_own(str(address[0])):
            raise OSError(f"tests must not reach {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_own(host: str) -> bool:
    """Whether a host is this machine: nodes of Ray speak to each other by its address in the network."""
    if host in ("127.0.0.1", "::1", "localhost"):
        return True
    try:
        kind = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
        with socket.socket(kind, socket.SOCK_DGRAM) as one:
            one.bind((host, 0))  # only an address of its own can be bound
    except (ValueError, OSError):  # a name is looked up in the network
        return False
    return True


@pytest.fixture
def small_classifier() -> Callable[[bool], Any]:
    """Makes a classifier on the embedded backbone; True: its head takes stages of unit length."""
    from small_models import make_classifier

    return make_classifier


@pytest.fixture
def resnet20(tmp_path: Path) -> Callable[[float | None], Any]:
    """Makes CIFAR's ResNet-20, always the same but for its head, which is scaled by a factor, or left out."""
    from small_models import make_resnet20

    return partial(make_resnet20, tmp_path)
