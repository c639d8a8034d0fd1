"""How many processes a verb's work is spread over, and which of torchrun's processes does what."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec

from headstart import runtime
from headstart.distributed.engine import Cluster, On, cluster_of
from headstart.errors import RecipeError
from headstart.finetune.processes import on_first
from headstart.recipe import Recipe
from headstart.workbench.run import Run

_Arguments = ParamSpec("_Arguments")


def in_first_process(verb: Callable[_Arguments, Run]) -> Callable[_Arguments, Run]:
    """A verb that under torchrun is done by the first process; the others train with it and return the same run."""

    @functools.wraps(verb)
    def started(*args: _Arguments.args, **values: _Arguments.kwargs) -> Run:
        if runtime.torchrun_size() == 1:
            return verb(*args, **values)
        runs: list[Run] = []

        def call() -> str:
            runs.append(verb(*args, **values))
            return str(runs[0].folder.absolute())

        folder = on_first(call)
        return runs[0] if runs else Run.load(folder)

    return started


def cluster_for(on: On | None, recipe: Recipe) -> Cluster | None:
    """Where the work runs; `processes` of the recipe are its workers.

    Raises:
        RecipeError: there is no such engine, or both say how many workers.
    """
    if on is None:
        return None
    cluster = cluster_of(on)
    if recipe.processes and cluster.processes not in (0, recipe.processes):
        raise RecipeError(
            expected=f"{cluster.processes}, as in the Cluster",
            found=str(recipe.processes),
            where="--processes",
            hint="Leave --processes out.",
        )
    return replace(cluster, processes=recipe.processes) if recipe.processes else cluster


def with_processes(recipe: Recipe, device: str) -> Recipe:
    """The recipe of a training in this process, with the number of processes that fine-tune.

    Raises:
        RecipeError: there are several and nothing is fine-tuned, torchrun started another number, or the network is not
            trained on the processor.
    """
    started = runtime.torchrun_size()
    if started > 1 and recipe.processes not in (0, started):
        raise RecipeError(
            expected=f"the {started} of torchrun",
            found=str(recipe.processes),
            where="--processes",
            hint="Leave --processes out.",
        )
    count = max(recipe.processes, started)
    if count > 1 and device != "cpu":
        raise RecipeError(
            expected="one process on a GPU, or several on processors",
            found=f"{count} processes and device {device}",
            where="--processes",
            hint="Use --device cpu, or leave out --processes.",
        )
    if count > 1 and recipe.strategy == "probe":
        raise RecipeError(
            expected="fine-tuning (--strategy last-stage, full, probe-then-full or auto), or --on local",
            found=f"{count} processes and --strategy probe",
            where="--processes",
            hint="Add --on local to read images and solve the head in worker processes.",
        )
    return recipe if count == max(1, recipe.processes) else recipe.with_options({"processes": count})
