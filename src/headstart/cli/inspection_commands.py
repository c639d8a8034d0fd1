"""Commands that analyse a model: inspect, explain, doctor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer

from headstart.cli.command import command
from headstart.cli.tables import print_analyses
from headstart.options import InspectOptions
from headstart.progress import OnEvent

_MODEL = "Name of a backbone, classifier.safetensors, or the folder of a run."


def _show_inspection(found: Any, values: Mapping[str, Any]) -> None:
    if isinstance(found, list):
        print_analyses(found)
        return
    from headstart.cli.terminal import Terminal

    Terminal().show(found.paragraphs)


@command(show=_show_inspection)
def inspect(  # one parameter for each option
    what: Annotated[str, typer.Argument(help="Name of an analysis, or all; left out, they are listed.")] = "",
    model: Annotated[str, typer.Argument(help=_MODEL)] = "",
    source: Annotated[Path | None, typer.Argument(help="Images: a data set with classes, or loose files.")] = None,
    *,
    against: Annotated[str | None, typer.Option(help="Model before training, for analyses that compare two.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML page to write. Default with all: inside.html.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Write the figure of one analysis: png, svg or pdf file.")] = None,
    most: Annotated[int, typer.Option(help="Largest number of images.", min=2)] = 150,
    on_event: OnEvent,
    **options: Unpack[InspectOptions],
) -> object:
    """Inspect a model with your images: batch norm, residual blocks, filters, feature maps; `all` writes one page."""
    from headstart.workbench.inspect import inspect as verb
    from headstart.workbench.inspect import list_analyses

    if not what:
        return list_analyses()
    if not model or source is None:
        raise typer.BadParameter("a model and images are missing: headstart inspect ANALYSIS MODEL IMAGES")
    return verb(what, model, source, against=against, out=out, figure=figure, most=most, on_event=on_event, **options)


@command()
def explain(
    classifier: Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files and folders of images.")],
    *,
    method: Annotated[
        str,
        typer.Option(
            help="grad-cam, integrated-gradients, occlusion, or all; auto: grad-cam where the network has feature "
            "maps, else occlusion."
        ),
    ] = "auto",
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class to explain. Default: each image's prediction.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for one picture per image.")] = Path("explained"),
    on_event: OnEvent,
) -> object:
    """Show which pixels a prediction depends on, and the most similar training images."""
    from headstart.workbench.explain import explain as verb

    return verb(classifier, images, method=method, class_name=class_name, out=out, on_event=on_event)


@command(failed=lambda found: found.worst == "error")
def doctor(  # one parameter for each option
    model: Annotated[str, typer.Argument(help=_MODEL)],
    *,
    images: Annotated[Path | None, typer.Option(help="Images of the task; some rules need them.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Batch size of the planned training.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps of the planned training.")] = None,
    weights: Annotated[str | None, typer.Option(help="File or URL of the network's weights.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    on_event: OnEvent,
) -> object:
    """Check a network against best practices; the exit code is 1 if there is an error."""
    from headstart.workbench.doctor import doctor as verb

    return verb(
        model, source=images, batch_size=batch_size, steps=steps, weights=weights, offline=offline, on_event=on_event
    )
