"""Commands that continue a training: resume an interrupted one, train a finished one further, recalibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Unpack

import typer

from headstart.cli.command import command
from headstart.options import RecalibrateOptions
from headstart.progress import OnEvent


@command()
def resume(
    run: Annotated[Path, typer.Argument(help="Folder the run was to be written to.")],
    *,
    processes: Annotated[
        int | None, typer.Option(help="Processes that fine-tune together. Default: as before.", min=1)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Resume although images, versions or device have changed.")
    ] = False,
    on_event: OnEvent,
) -> object:
    """Resume an interrupted training; it ends with the same weights as an uninterrupted one."""
    from headstart.workbench.resume import resume as verb

    return verb(run, processes=processes, force=force, on_event=on_event)


@command(name="continue")
def continue_(  # one parameter for each option
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    *,
    epochs: Annotated[int | None, typer.Option(help="Epochs of fine-tuning. Default: as in the run.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate. Default: as in the run.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Needed: last-stage, probe-then-full or auto.")] = None,
    unfreeze: Annotated[str | None, typer.Option(help="With last-stage: the first stage that is trained.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run. Default: RUN-2 and on.")] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Continue although images have changed (test images may leak), and keep what was trained although "
            "held-out images favour the run's classifier.",
        ),
    ] = False,
    on_event: OnEvent,
) -> object:
    """Train the classifier of a finished run further, as a run of its own."""
    from headstart.workbench.continue_run import continue_run as verb

    asked = {"epochs": epochs, "lr": lr, "strategy": strategy, "unfreeze": unfreeze}
    options: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    return verb(run, out=out, force=force, on_event=on_event, **options)


@command()
def recalibrate(
    classifier: Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")],
    source: Annotated[Path, typer.Argument(help="Images of the new domain, in class folders or loose.")],
    *,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: NAME-recalibrated.safetensors.")] = None,
    prior: Annotated[float, typer.Option(help="Number of images the old statistics count for.")] = 16.0,
    on_event: OnEvent,
    **options: Unpack[RecalibrateOptions],
) -> object:
    """Re-estimate batch-norm statistics on images of a new domain, and compare before and after."""
    from headstart.workbench.recalibrate import recalibrate as verb

    return verb(classifier, source, out=out, prior=prior, on_event=on_event, **options)


@command(failed=lambda found: not found.passed)
def selftest(
    what: Annotated[str, typer.Argument(help="resume")],
    *,
    strategy: Annotated[str, typer.Option(help="last-stage, full or probe-then-full.")] = "last-stage",
    kills: Annotated[int, typer.Option(help="How often the training is killed.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 0,
    on_event: OnEvent,
) -> object:
    """Check that resuming after a kill gives bit-identical weights."""
    from headstart.workbench.selftest import selftest as verb

    return verb(what, strategy=strategy, kills=kills, seed=seed, on_event=on_event)
