"""--processes: one word for workers and for processes that fine-tune, and what cannot be spread is refused."""

from __future__ import annotations

import pytest

from headstart import runtime
from headstart.distributed.engine import Cluster
from headstart.errors import RecipeError
from headstart.recipe import Recipe
from headstart.workbench import processes
from headstart.workbench.processes import cluster_for, in_first_process, with_processes
from headstart.workbench.run import Run


def test_processes_are_the_workers_of_a_cluster() -> None:
    assert cluster_for(None, Recipe(processes=3)) is None
    assert cluster_for("local", Recipe(processes=3)) == Cluster(engine="local", processes=3)
    assert cluster_for("local", Recipe()) == Cluster(engine="local", processes=0)
    assert cluster_for(Cluster(processes=2), Recipe()) == cluster_for(Cluster(), Recipe(processes=2))
    with pytest.raises(RecipeError, match="2, as in the Cluster"):
        cluster_for(Cluster(processes=2), Recipe(processes=3))


def test_without_fine_tuning_there_is_nothing_to_spread() -> None:
    tuned = Recipe(processes=2, strategy="last-stage")
    assert with_processes(tuned, "cpu") == tuned
    assert with_processes(Recipe(), "cpu") == Recipe()
    with pytest.raises(RecipeError, match=r"2 processes and --strategy probe .*--on local"):
        with_processes(Recipe(processes=2), "cpu")


def test_under_torchrun_the_number_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "torchrun_size", lambda: 2)
    assert with_processes(Recipe(strategy="full"), "cpu").processes == 2
    assert with_processes(Recipe(strategy="full", processes=2), "cpu").processes == 2
    with pytest.raises(RecipeError, match="the 2 of torchrun"):
        with_processes(Recipe(strategy="full", processes=3), "cpu")


def test_several_processes_train_on_processors_alone() -> None:
    assert with_processes(Recipe(strategy="full", processes=1), "cuda").processes == 1
    with pytest.raises(RecipeError, match="--device cpu"):
        with_processes(Recipe(strategy="full", processes=2), "cuda")


def test_the_verb_is_done_by_the_first_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "torchrun_size", lambda: 2)
    monkeypatch.setattr(processes, "on_first", lambda call: "runs/made-by-the-first")
    monkeypatch.setattr(Run, "load", lambda folder: ("loaded", folder))

    def verb() -> Run:
        raise AssertionError("not here")

    assert in_first_process(verb)() == ("loaded", "runs/made-by-the-first")
