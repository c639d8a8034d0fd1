"""Which engine is meant, and what is refused before anything starts."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from headstart import runtime
from headstart.distributed.engine import Cluster, check_reachable, cluster_of, function_of, run_item
from headstart.errors import RecipeError, RunError


def test_a_word_is_a_cluster() -> None:
    assert cluster_of("local") == Cluster(engine="local")
    mine = Cluster(engine="ray", address="auto", processes=3)
    assert cluster_of(mine) is mine
    assert Cluster().folder == runtime.cache_folder() / "shards"
    assert Cluster(shards=Path("x")).folder == Path("x")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"engine": "lokal"}, "Did you mean local"), ({"processes": -1}, "--processes"),
     ({"address": "ray://x"}, "--on ray or spark"), ({"held_out": "fold"}, "Did you mean folds")],
)  # fmt: skip
def test_nonsense_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Cluster(**options)
    with pytest.raises(RecipeError, match="local, ray"):
        cluster_of(3)  # type: ignore[arg-type]


def test_a_worker_makes_the_function_of_a_job_once_until_another_job_comes() -> None:
    made: list[str] = []

    @dataclass(frozen=True)
    class Named:
        name: str

        def make(self) -> Callable[[str], str]:
            made.append(self.name)
            return lambda item: self.name + item

    first, second = Named("first"), Named("second")
    assert [run_item(1, first, "a"), run_item(1, first, "b"), run_item(2, second, "c")] == [
        "firsta",
        "firstb",
        "secondc",
    ]
    assert function_of(1, lambda: first)("d") == "firstd"
    assert made == ["first", "second", "first"]


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_an_engine_that_is_not_installed_says_how_to_get_it() -> None:
    with pytest.raises(RecipeError, match=r"headstart\[ray\]"), Cluster(engine="ray").start():
        pass


def test_an_address_at_which_nothing_listens_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_reachable(f"spark://127.0.0.1:{port}", where="--address")
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:99999999"):
        with pytest.raises(RunError, match=r"a cluster that answers at .*--address"):
            Cluster(engine="ray", address=address).start()
    for address in ("", "auto", "local[2]", "yarn", f"spark://127.0.0.1:{port},127.0.0.1:{port}"):
        check_reachable(address, where="--address")  # the engine knows what these are
