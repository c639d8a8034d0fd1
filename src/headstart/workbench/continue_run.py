"""continue: a new phase of training from the weights of a finished run, as a run of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart.errors import RecipeError
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.workbench.choose_run import check_data
from headstart.workbench.job import Job
from headstart.workbench.out_folder import out_folder
from headstart.workbench.prepare import fingerprint_of, prepare, split_prepared
from headstart.workbench.run import Run
from headstart.workbench.train import work_on

_FIXED = ("backbone", "weights", "size")  # a run has its own
_STRATEGIES = {"last-stage": "last-stage"}  # every other goes on with all stages, from the head that is there


def continue_run(
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    force: bool = False,
    on_event: OnEvent = print_event,
    **knobs: object,
) -> Run:
    """Train a run's classifier further on the same images, with a new optimiser and a new schedule.

    Not `resume`, which ends a training that was interrupted as if it had not been.

    Args:
        out: folder of the new run; left out: that of the old one with a number behind it.
        anyway: also when images, labels or split are no longer those of the run.
        knobs: fields of Recipe; what is left out is as in the run.

    Raises:
        RunError: there is no such run, or its images changed. RecipeError: a knob is not allowed here.
    """
    old = run if isinstance(run, Run) else Run.load(run)
    recipe = _recipe_of(old, knobs)
    source = Path(old.record["source"])
    if not force:
        prepared = prepare(source, recipe, on_event)  # found again at once by the training itself
        check_data(old, fingerprint_of(prepared, split_prepared(prepared, recipe)))
    target = out_folder(old.folder if out is None else out)
    return work_on(Job.begin(target, source, recipe, old.folder.absolute()), on_event)


def _recipe_of(run: Run, knobs: dict[str, object]) -> Recipe:
    for name in _FIXED:
        if name in knobs:
            raise RecipeError(
                expected="the backbone, weights and size of the run",
                found=f"another {name}",
                where=f"--{name}",
                hint="Begin a new training with `headstart train`.",
            )
    was = Recipe.from_dict(run.record["recipe"])
    strategy = str(knobs.get("strategy") or _STRATEGIES.get(was.strategy, "probe-then-full"))
    if strategy in ("probe", "full"):
        raise RecipeError(
            expected="last-stage, probe-then-full or auto",
            found=strategy,
            where="--strategy",
            hint="probe trains no weights of the network, and full begins with an empty head.",
        )
    return Recipe.from_dict({**replace(was, strategy=strategy).to_dict(), **knobs, "strategy": strategy})
