"""Commands that go on from a training: resume what was cut off, continue what is done, measure statistics anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.command import Json, command, print_json


@command()
def resume(
    run: Annotated[Path, typer.Argument(help="Folder that the run would have had.")],
    force: Annotated[
        bool, typer.Option(help="Also with changed images, versions or device: weights may differ.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Go on with a training that was interrupted; it ends with the weights of one that was not."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.resume import resume as verb

    finished = verb(run, force=force, on_event=Terminal(quiet=as_json).on_event)
    if as_json:
        print_json(finished.to_dict())


@command(name="continue")
def continue_(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images; the run's own number.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate, relative to the weights; the run's own.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="last-stage, probe-then-full or auto; last-stage if the run's was."),
    ] = None,
    unfreeze: Annotated[str | None, typer.Option(help="With last-stage: the first stage that trains.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run. Default: the old name and a number.")] = None,
    force: Annotated[bool, typer.Option(help="Also with changed images: the test may then be no test.")] = False,
    as_json: Json = False,
) -> None:
    """Train a finished run's classifier further, as a run of its own."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.continue_run import continue_run as verb

    asked = {"epochs": epochs, "lr": lr, "strategy": strategy, "unfreeze": unfreeze}
    knobs = {name: value for name, value in asked.items() if value is not None}
    finished = verb(run, out=out, force=force, on_event=Terminal(quiet=as_json).on_event, **knobs)
    if as_json:
        print_json(finished.to_dict())


@command("workers", "batch_size", knobs=True)
def recalibrate(
    classifier: Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")],
    source: Annotated[Path, typer.Argument(help="Images like those that will come, in class folders or loose.")],
    out: Annotated[Path | None, typer.Option(help="File to write. Default: NAME-recalibrated.safetensors.")] = None,
    prior: Annotated[float, typer.Option(help="How many images the old statistics count for.")] = 16.0,
    as_json: Json = False,
    **knobs: Any,
) -> None:
    """Measure batch-norm statistics anew on images of another domain, and compare before with after."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.recalibrate import recalibrate as verb

    terminal = Terminal(quiet=as_json)
    found = verb(classifier, source, out=out, prior=prior, on_event=terminal.on_event, **knobs)
    if as_json:
        print_json(found.to_dict())
    else:
        terminal.text(str(found))


@command()
def selftest(
    what: Annotated[str, typer.Argument(help="resume")],
    strategy: Annotated[str, typer.Option(help="last-stage, full or probe-then-full.")] = "last-stage",
    kills: Annotated[int, typer.Option(help="How often the training is killed.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    as_json: Json = False,
) -> None:
    """Kill a training at random moments, resume it, and compare its weights with those of one left alone."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.selftest import selftest as verb

    terminal = Terminal(quiet=as_json)
    found = verb(what, strategy=strategy, kills=kills, seed=seed, on_event=terminal.on_event)
    if as_json:
        print_json(found.to_dict())
    else:
        terminal.text(str(found))
    if not found.passed:
        raise typer.Exit(1)
