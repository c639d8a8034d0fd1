"""resume: finish a training that was interrupted, with the weights of one that was not."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from headstart import runtime
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.wording import counted
from headstart.workbench.job import Job
from headstart.workbench.processes import in_first_process, with_processes
from headstart.workbench.run import Run
from headstart.workbench.session import Session
from headstart.workbench.train import work_on


@public_api
@in_first_process
def resume(
    run: str | Path,
    *,
    processes: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = print_event,
) -> Run:
    """Finish the interrupted training of a run's folder, by its own recipe and images.

    The probe and what is cached are made or found again; fine-tuning continues from the latest whole checkpoint.

    Args:
        run: folder that the run would have had.
        processes: that fine-tune together; None: as many as before, or those of torchrun. With another number the order
            of images is the same and losses differ in the sixth digit.
        force: also with changed images or versions, or on another device, without the promise of equal weights.

    Raises:
        RunError: there is nothing to resume, or images, versions or the device differ.
    """
    job = Job.find(run)
    was = max(1, job.recipe.processes)
    wanted = processes if processes is not None else 0 if runtime.torchrun_size() > 1 else was
    recipe = job.recipe.with_options({"processes": wanted})
    session = Session(recipe, on_event=on_event)
    session.recipe = with_processes(recipe, session.device)
    job = replace(job, recipe=session.recipe)
    if (now := max(1, session.recipe.processes)) != was:
        session.notice(
            f"{counted(now, 'process', 'processes')} instead of {was}: the order of images is the same, and weights "
            "differ from those of an uninterrupted run by rounding."
        )
    if job.tracked is None:
        return work_on(session, job, resumed=True, force=force)
    tracker, session.run_id = job.tracked
    finished = work_on(session, job, resumed=True, force=force)
    session.notice(
        f"{tracker} has at most the epochs before the interruption. Send the whole run: "
        f"headstart track {shlex.quote(str(finished.folder))} --to {shlex.quote(tracker)}"
    )
    return finished
