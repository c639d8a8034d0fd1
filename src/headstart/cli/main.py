"""The command line: parse, call one verb, show. Options come from Recipe; verbs are imported inside their command.

Exit codes: 0 done; 1 done, but some images could not be read, or a claim of the lab does not hold; 2 a mistake that the
user can mend; 130 stopped (Ctrl-C).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli import inspection_commands, training_commands  # noqa: F401  # their commands register themselves
from headstart.cli.command import Json, app, command, print_json

_LOOKING = ("max_pixels", "max_bad_share", "workers", "verify")  # knobs of verbs that look at a folder
_RUNNING = ("workers", "batch_size", "device", "engine")  # knobs of verbs that run a network


@command(knobs=True)
def train(
    source: Annotated[
        Path, typer.Argument(help="Folder of class folders, train/ test/ folders, csv table, zip or tar.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/NAME, never overwritten.")] = None,
    as_json: Json = False,
    **knobs: Any,
) -> None:
    """Train a classifier on your images and measure it on images it never saw."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.train import train as verb

    terminal = Terminal(quiet=as_json)
    run = verb(source, out=out, on_event=terminal.on_event, **knobs)
    if as_json:
        print_json(run.to_dict())


@command(*_RUNNING, knobs=True)
def predict(
    classifier: Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files and folders of images, in any number.")],
    csv: Annotated[Path | None, typer.Option(help="Write all probabilities into this csv file.")] = None,
    as_json: Json = False,
    **knobs: Any,
) -> None:
    """Name the class of new images, with a calibrated probability."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.predict import predict as verb

    terminal = Terminal(quiet=as_json)
    predictions = verb(classifier, images, csv=csv, on_event=terminal.on_event, **knobs)
    if as_json:
        print_json([prediction.to_dict() for prediction in predictions])
    else:
        terminal.predictions(predictions)
    if any(prediction.error for prediction in predictions):
        raise typer.Exit(1)


@command(*_RUNNING, *_LOOKING, "group_by", "cache_limit_gb", "seed", knobs=True)
def evaluate(
    classifier: Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")],
    source: Annotated[Path, typer.Argument(help="Images it never saw: folder of class folders, table or archive.")],
    as_json: Json = False,
    **knobs: Any,
) -> None:
    """Measure a finished classifier on another set of images."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.evaluate import evaluate as verb

    terminal = Terminal(quiet=as_json)
    measured = verb(classifier, source, on_event=terminal.on_event, **knobs)
    if as_json:
        print_json(measured.to_dict())
    else:
        terminal.measured(measured)


@command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another run.")],
    as_json: Json = False,
) -> None:
    """Say whether one run is better than another, or whether their test images cannot tell."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.compare import compare as verb

    comparison = verb(first, second)
    if as_json:
        print_json(comparison.to_dict())
    else:
        Terminal().comparison(comparison, first, second)


@command("background", *_LOOKING, "group_by", knobs=True)
def audit(
    source: Annotated[Path, typer.Argument(help="Folder of class folders, table or archive.")],
    as_json: Json = False,
    **knobs: Any,
) -> None:
    """Look for unreadable, copied, leaking, mislabelled and too few images; nothing is changed."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.audit import audit as verb

    terminal = Terminal(quiet=as_json)
    found = verb(source, on_event=terminal.on_event, **knobs)
    if as_json:
        print_json(found.to_dict())
    else:
        terminal.audit(found)


@command()
def fetch(
    source: Annotated[str, typer.Argument(help="rps, kaggle, or the http(s) address of a zip or tar.")],
    name: Annotated[str | None, typer.Argument(help="After kaggle: OWNER/NAME.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the data set. Default: data/NAME.")] = None,
    sha256: Annotated[str, typer.Option(help="Hash of the archive at an address, or its first digits.")] = "",
    max_gb: Annotated[float, typer.Option(help="Largest archive, and largest sum of its files.")] = 20.0,
    as_json: Json = False,
) -> None:
    """Bring a data set to the disk: rock paper scissors, one of Kaggle, or any archive on the web."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.fetch import fetch as verb

    terminal = Terminal(quiet=as_json)
    fetched = verb(source, name, out=out, sha256=sha256, max_gb=max_gb, on_event=terminal.on_event)
    if as_json:
        print_json(fetched.to_dict())
    else:
        terminal.fetched(fetched)


@command()
def backbones(as_json: Json = False) -> None:
    """List the networks to start from, with size, licence and origin."""
    from headstart.workbench.backbones import list_backbones

    rows = list_backbones()
    if as_json:
        print_json(rows)
    else:
        from headstart.cli.tables import print_backbones

        print_backbones(rows)


@command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all cached features and image facts.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is kept for later runs, where, and how large it is; or clear it."""
    from headstart.workbench.cache import clear_cache, show_cache

    told = clear_cache() if clear else show_cache()
    if as_json:
        print_json(told.to_dict())
    else:
        from headstart.cli.tables import print_cache

        print_cache(told)


@command()
def lab(
    name: Annotated[str, typer.Argument(help="An experiment; without one, all are listed.")] = "",
    change: Annotated[list[str] | None, typer.Option("--set", help="A setting to change: NAME=VALUE.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Write its picture into this png, svg or pdf file.")] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment of the textbook, and say whether its claim holds on this machine."""
    from headstart.cli.lab_command import lab as show

    if not show(name, settings=change or (), figure=figure, as_json=as_json):
        raise typer.Exit(1)


@command()
def pretrain(
    recipe: Annotated[str, typer.Option(help="proof (minutes), short, small (over an hour) or large (GPU).")] = "small",
    out: Annotated[Path, typer.Option(help="Folder to make, or to go on in.")] = Path("pretrained"),
    weights: Annotated[str | None, typer.Option(help="File or URL of the teacher's weights.")] = None,
    start: Annotated[Path | None, typer.Option(help="Folder of a finished pretraining to begin with.")] = None,
    gate: Annotated[Path | None, typer.Option(help="Folder of real image sets to measure the weights on.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many; the next call goes on.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
) -> None:
    """Make the backbone that comes with headstart anew, from pictures that it draws; needs no photo."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.pretrain import pretrain as verb

    on_event = Terminal().on_event
    verb(recipe, out=out, weights=weights, start=start, gate=gate, minutes=minutes, offline=offline, on_event=on_event)


@command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist yet.")] = Path("demo"),
    backbone: Annotated[str, typer.Option(help="Network to start from.")] = "embedded",
) -> None:
    """Draw a set of rock, paper and scissors hands and run the main job on it; needs no network."""
    from headstart.cli.terminal import Terminal
    from headstart.workbench.demo import demo as verb

    verb(folder, backbone=backbone, on_event=Terminal().on_event)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; a user's mistake never shows a traceback."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="headstart")
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)
