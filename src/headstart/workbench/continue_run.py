"""continue: train a finished run's weights further, as a run of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Unpack

from headstart.errors import RecipeError
from headstart.finetune.auto import NOT_LINEAR, check_strategy
from headstart.invocation import line
from headstart.options import ContinueOptions, takes
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.workbench.job import Job
from headstart.workbench.processes import in_first_process, with_processes
from headstart.workbench.run import Run, out_folder
from headstart.workbench.session import Session
from headstart.workbench.starting_point import check_data
from headstart.workbench.train import work_on

_STRATEGIES = "last-stage, probe-then-full or auto"


@takes(ContinueOptions)
@in_first_process
def continue_run(
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    force: bool = False,
    on_event: OnEvent | None = print_event,
    **options: Unpack[ContinueOptions],
) -> Run:
    """Train a run's classifier further on the same images, with a new optimiser and a new schedule.

    Not `resume`, which finishes an interrupted training as if it had not been interrupted. The better of the two
    classifiers is kept: where the same held-out images are classified worse than before, the new run has the old one.

    Args:
        out: folder of the new run; default: the old one's with a number behind it.
        force: also when images, labels or split are no longer those of the run; and keep what was trained although
            held-out images favour the run's classifier.
        options: `strategy` (last-stage, probe-then-full or auto), and any other field of Recipe but those of the
            network; what is left out is as in the run.

    Raises:
        RunError: there is no such run, or its images changed. RecipeError: there is no strategy, or an option is not
            allowed here.
    """
    named = None if out is None else out_folder(out)
    old = run if isinstance(run, Run) else Run.load(run)
    target = named or out_folder(old.folder)
    recipe = _recipe_of(old, {**options, "force": force})
    check_strategy(recipe)
    session, source = Session(recipe, on_event=on_event), Path(old.record["source"])
    recipe = session.recipe = with_processes(recipe, session.device)
    if not force:
        dataset = session.overlay(source).dataset  # the training finds it cached
        check_data(old, dataset.fingerprint())
    command = line("continue_run", old.folder, options={"out": out, "force": force or None, **options})
    job = Job.begin(target, source, recipe, origin=old.folder.absolute(), command=command)
    return work_on(session, job)


def _recipe_of(run: Run, options: Mapping[str, object]) -> Recipe:
    was = Recipe.from_dict(run.record["recipe"])
    strategy = options.get("strategy")
    if strategy is None:
        raise RecipeError(
            expected=f"a strategy: {_STRATEGIES}",
            found=f"none; the run was trained with {was.strategy}",
            where="--strategy",
            hint="last-stage trains the last stage, probe-then-full all stages, auto decides by a short pilot.",
        )
    if strategy in ("probe", "full"):
        raise RecipeError(
            expected=_STRATEGIES,
            found=str(strategy),
            where="--strategy",
            hint="probe trains no weights of the network, and full starts with an untrained head.",
        )
    # a kernel is not trained further: the linear head on the same stages is the start
    head = {"head": "ridge"} if was.head in NOT_LINEAR else {}
    return was.with_options({**head, **options})
