"""resume: finish a training that was interrupted, with the weights of one that was not."""

from __future__ import annotations

from pathlib import Path

from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.workbench.job import Job
from headstart.workbench.run import Run
from headstart.workbench.session import Session
from headstart.workbench.train import work_on


@public_api
def resume(run: str | Path, *, force: bool = False, on_event: OnEvent | None = print_event) -> Run:
    """Finish the interrupted training of a run's folder, by its own recipe and images.

    The probe and what is cached are made or found again; fine-tuning continues from the latest whole checkpoint.

    Args:
        run: folder that the run would have had.
        force: also with changed images or versions, or on another device, without the promise of equal weights.

    Raises:
        RunError: there is nothing to resume, or images, versions or the device differ.
    """
    job = Job.find(run)
    return work_on(Session(job.recipe, on_event=on_event), job, resumed=True, force=force)
