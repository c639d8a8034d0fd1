"""resume: go on with a training that was interrupted; it ends with the weights of one that was not."""

from __future__ import annotations

from pathlib import Path

from headstart.progress import OnEvent, print_event
from headstart.workbench.job import Job
from headstart.workbench.run import Run
from headstart.workbench.train import work_on


def resume(run: str | Path, *, force: bool = False, on_event: OnEvent = print_event) -> Run:
    """Go on with the unfinished training of a run's folder, by its own recipe and images.

    The probe and what is cached are made or found again; fine-tuning goes on from the latest whole checkpoint.

    Args:
        run: folder that the run would have had.
        anyway: also with changed images or versions, or on another device, without the promise.

    Raises:
        RunError: there is nothing to resume, or images, versions or the device differ.
    """
    return work_on(Job.find(run), on_event, resumed=True, force=force)
