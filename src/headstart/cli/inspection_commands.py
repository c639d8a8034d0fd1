"""Commands that look inside: inspect, explain, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.command import Json, command, print_json

_LOADING = ("weights", "offline", "seed", "max_pixels", "workers")


@command(*_LOADING, knobs=True)
def inspect(
    what: Annotated[str, typer.Argument(help="A look, or all; without one they are listed.")] = "",
    model: Annotated[
        str, typer.Argument(help="A network's name, classifier.safetensors, or the folder of a run.")
    ] = "",
    source: Annotated[Path | None, typer.Argument(help="Images: a set with classes, or loose files.")] = None,
    against: Annotated[str | None, typer.Option(help="The model before, for similarity and line.")] = None,
    out: Annotated[Path | None, typer.Option(help="Page to write. Default with all: inside.html.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Picture of one look: png, svg or pdf file.")] = None,
    most: Annotated[int, typer.Option(help="Images at most.", min=2)] = 150,
    as_json: Json = False,
    **knobs: Any,
) -> None:
    """Look into a model with your images: batch norm, residuals, filters, maps, features; all writes one page."""
    from headstart.cli.terminal import Terminal

    if not what:
        _list_looks(as_json)
        return
    from headstart.workbench.inspect import inspect as verb

    if not model or source is None:
        raise typer.BadParameter("after the look come a model and images: headstart inspect LOOK MODEL IMAGES")
    terminal = Terminal(quiet=as_json)
    found = verb(
        what, model, source, against=against, out=out, figure=figure, most=most, on_event=terminal.on_event, **knobs
    )
    if as_json:
        print_json(found.to_dict())
    else:
        terminal.text(str(found))


def _list_looks(as_json: bool) -> None:
    from headstart.cli.terminal import Terminal
    from headstart.workbench.inspect import looks

    found = looks()
    if as_json:
        print_json(found)
        return
    width = max(len(one["name"]) for one in found)
    lines = [f"{one['name']:{width}}  {one['about']}" for one in found]
    Terminal().text("\n".join([*lines, "", "Look: headstart inspect NAME MODEL IMAGES, or all for one page"]))


@command()
def explain(
    classifier: Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files and folders of images.")],
    method: Annotated[str, typer.Option(help="grad-cam, integrated-gradients, occlusion, or all.")] = "grad-cam",
    class_name: Annotated[str | None, typer.Option("--class", help="The class. Default: each image's answer.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for one picture of each image.")] = Path("explained"),
    as_json: Json = False,
) -> None:
    """Show what in an image its answer rests on, and the training images that it looks like."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.explain import explain as verb

    terminal = Terminal(quiet=as_json)
    found = verb(classifier, images, method=method, class_name=class_name, out=out, on_event=terminal.on_event)
    if as_json:
        print_json([one.to_dict() for one in found])
    else:
        terminal.text("\n\n".join("\n".join([one.title, *one.interpretation]) for one in found))


@command()
def doctor(
    model: Annotated[str, typer.Argument(help="A network's name, classifier.safetensors, or the folder of a run.")],
    images: Annotated[Path | None, typer.Option(help="Images that it is for; some rules need them.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step of the training to come.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the training to come.")] = None,
    weights: Annotated[str | None, typer.Option(help="File or URL of the network's weights.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
    as_json: Json = False,
) -> None:
    """Check the rules of the trade on a network; the exit code is 1 when an error is found."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.doctor import doctor as verb

    terminal = Terminal(quiet=as_json)
    found = verb(
        model,
        source=images,
        batch_size=batch_size,
        steps=steps,
        weights=weights,
        offline=offline,
        on_event=terminal.on_event,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        terminal.text(str(found))
    if found.worst == "error":
        raise typer.Exit(1)
