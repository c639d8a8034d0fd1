"""The command line: parse, call one verb, show its result. Options come from Recipe; verbs are imported when used.

Exit codes: 0 done; 1 done, but an image could not be read or is damaged, a check failed or a claim of the lab does not
hold; 2 a mistake that the user can fix; 130 stopped (Ctrl-C), 143 by SIGTERM.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer
from typer.core import TyperGroup

from headstart import __version__
from headstart.cli import (  # noqa: F401  # they register commands
    advise_commands,
    export_commands,
    inspection_commands,
    lab_command,
    review_commands,
    studio_command,
    training_commands,
)
from headstart.cli.cluster_options import Address, HeldOut, On, Processes, Shards, cluster
from headstart.cli.command import app, command, show_error, show_stopped
from headstart.cli.streams import StandardStreams, TerminatedError, signals_as_interrupt
from headstart.cli.tables import console, print_backbones, print_cache, print_engines, print_predictions
from headstart.errors import RecipeError, near, shown
from headstart.files import os_error
from headstart.invocation import started_in_shell
from headstart.options import AuditOptions, EmbedOptions, EvaluateOptions, PredictOptions, TrainOptions
from headstart.progress import OnEvent

_NO_VALUE = re.compile(r"--[a-z][a-z-]*=")  # an option that a variable of the shell was to give its value
_Classifier = Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")]
_ThresholdPolicy = Annotated[
    str | None,
    typer.Option(
        help="What becomes of doubtful answers: keep (their class, and why it is doubtful) or reject (no class). "
        "Default: keep, and reject with --reject."
    ),
]
_Reject = Annotated[
    str | None,
    typer.Option(help="Which answers are rejected: unfamiliar, unsure, atypical, with commas. Default: unfamiliar."),
]
_Every = Annotated[
    str | None, typer.Option(help="Of a video or camera: time between two frames, as 1s or 500ms. Default: 1s.")
]
_Frames = Annotated[
    int | None,
    typer.Option(help="Of a video or camera: stop after so many frames. Default: a camera runs until Ctrl-C."),
]
_Dataset = Annotated[
    Path, typer.Argument(help="Folder of class folders, or of train/ and test/ folders; csv table; zip or tar.")
]

_AnyDataset = Annotated[
    str,
    typer.Argument(
        help="Folder of class folders, or of train/ and test/ folders; csv table; zip or tar. With --on also Parquet "
        "files and webdataset tars, here or at an address such as s3://bucket/photos/*.parquet."
    ),
]


@command()
def train(  # one parameter for each option
    source: _AnyDataset,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/NAME, never overwritten.")] = None,
    track: Annotated[
        str | None, typer.Option(help="Also send the run to tensorboard, mlflow or wandb, epoch by epoch.")
    ] = None,
    on: On = None,
    address: Address = "",
    shards: Shards = None,
    held_out: HeldOut = "left-out",
    on_event: OnEvent,
    **options: Unpack[TrainOptions],
) -> object:
    """Train a classifier on your images and evaluate it on images it has never seen."""
    from headstart.workbench.train import train as verb

    where = cluster(on, address=address, shards=shards, held_out=held_out)
    return verb(source, out=out, track=track, on=where, on_event=on_event, **options)


def _show_predictions(predictions: Any, values: Mapping[str, Any]) -> None:
    if isinstance(predictions, list):
        print_predictions(predictions, console())
    else:  # of workers: counts, and the file they are in
        print("\n".join(map(shown, str(predictions).split("\n"))))


def _has_unread(predictions: Any) -> bool:
    if isinstance(predictions, list):
        return any(p.error or p.damaged for p in predictions)
    return bool(predictions.bad or predictions.damaged)


@command(show=_show_predictions, failed=_has_unread)
def predict(  # one parameter for each option
    classifier: Annotated[
        Path, typer.Argument(help="classifier.safetensors, the folder of its run, or an exported .onnx file.")
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Any number of image files, folders, patterns ('**/*.jpg'), zip and tar files, addresses, videos, "
            "camera:0.",
        ),
    ],
    *,
    csv: Annotated[Path | None, typer.Option(help="Write all probabilities into this csv file.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="Write all probabilities as csv, json or parquet, see --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for --format. Default: predictions.FORMAT.")] = None,
    sort_into: Annotated[
        Path | None, typer.Option(help="Copy each image into a folder of its predicted class, below this one.")
    ] = None,
    threshold_policy: _ThresholdPolicy = None,
    reject: _Reject = None,
    every: _Every = None,
    frames: _Frames = None,
    on: On = None,
    address: Address = "",
    processes: Processes = 0,
    shards: Shards = None,
    on_event: OnEvent,
    **options: Unpack[PredictOptions],
) -> object:
    """Predict the class of new images, with calibrated probabilities."""
    files: dict[str, Any] = {"csv": csv, "out": out, "format": format_, "sort_into": sort_into}
    files |= {"threshold_policy": threshold_policy, "reject": reject, "every": every, "frames": frames}
    files["on"] = cluster(on, address=address, processes=processes, shards=shards)
    if classifier.suffix.lower() == ".onnx":  # without torch
        from headstart.workbench.predict_onnx import predict_onnx

        return predict_onnx(classifier, images, on_event=on_event, options=options, **files)
    from headstart.workbench.predict import predict as verb

    return verb(classifier, images, on_event=on_event, **files, **options)


@command()
def evaluate(  # one parameter for each option
    classifier: _Classifier,
    source: _AnyDataset,
    *,
    on: On = None,
    address: Address = "",
    processes: Processes = 0,
    shards: Shards = None,
    on_event: OnEvent,
    **options: Unpack[EvaluateOptions],
) -> object:
    """Evaluate a classifier on another set of images."""
    from headstart.workbench.evaluate import evaluate as verb

    where = cluster(on, address=address, processes=processes, shards=shards)
    return verb(classifier, source, on=where, on_event=on_event, **options)


def _show_features(written: Any, values: Mapping[str, Any]) -> None:
    print(f"{written['images']:,} images, {written['width']:,} features of {', '.join(written['stages'])}")
    print(f"Written: {shown(str(written['file']))}")


@command(show=_show_features)
def embed(  # one parameter for each option
    images: _AnyDataset,
    *,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")] = Path("features.parquet"),
    on: On = None,
    address: Address = "",
    processes: Processes = 0,
    shards: Shards = None,
    on_event: OnEvent,
    **options: Unpack[EmbedOptions],
) -> object:
    """Write the features of images, from a pretrained network, as a Parquet file."""
    from headstart.workbench.embed import embed as verb

    where = cluster(on, address=address, processes=processes, shards=shards)
    features = verb(images, on=where, out=out, on_event=on_event, **options)
    images_, width = features.matrix.shape
    return {"file": str(out), "images": images_, "width": width, "stages": list(features.stages)}


def _show_comparison(comparison: object, runs: Mapping[str, Any]) -> None:
    from headstart.cli.terminal import Terminal

    Terminal().text(f"A is {runs['first']}, B is {runs['second']}\n{comparison}")


@command(show=_show_comparison)
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run (A).")],
    second: Annotated[Path, typer.Argument(help="Folder of another run (B).")],
) -> object:
    """Say whether one run is better than another, or whether their test images cannot show a difference."""
    from headstart.workbench.compare import compare as verb

    return verb(first, second)


@command()
def audit(  # one parameter for each option
    source: _AnyDataset,
    *,
    shortcuts: Annotated[
        bool,
        typer.Option("--shortcuts", help="Also look for what tells the classes apart without the subject."),
    ] = False,
    backbone: Annotated[str, typer.Option(help="With --shortcuts: the network to compare with.")] = "auto",
    weights: Annotated[str | None, typer.Option(help="With --shortcuts: file or URL of its weights.")] = None,
    on: On = None,
    address: Address = "",
    processes: Processes = 0,
    shards: Shards = None,
    on_event: OnEvent,
    **options: Unpack[AuditOptions],
) -> object:
    """Find unreadable, duplicate, leaking and mislabelled images, and classes that are too small; changes nothing."""
    from headstart.workbench.audit import audit as verb

    where = cluster(on, address=address, processes=processes, shards=shards)
    given: dict[str, Any] = {"shortcuts": shortcuts, "backbone": backbone, "weights": weights, **options}
    return verb(source, on=where, on_event=on_event, **given)


@command(show=lambda shown, values: None)  # its last event has named the page
def show(  # one parameter for each option
    source: _Dataset,
    *,
    out: Annotated[Path | None, typer.Option(help="HTML page to write. Default: show.html.")] = None,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Also show views of images as fine-tuning would draw them.")
    ] = False,
    backbone: Annotated[str, typer.Option(help="With --augmented: the network that the views are for.")] = "auto",
    flips: Annotated[bool, typer.Option("--flips/--no-flips", help="With --augmented: horizontal flips.")] = True,
    most: Annotated[int, typer.Option(help="Images of each class; the page has at most 600.", min=1)] = 24,
    on_event: OnEvent,
    **options: Unpack[AuditOptions],
) -> object:
    """Show some images of each class, their sizes and what is wrong with them, as one page."""
    from headstart.workbench.show import show as verb

    given: dict[str, Any] = {"backbone": backbone, "flips": flips, "most": most, **options}
    return verb(source, out=out, augmented=augmented, on_event=on_event, **given)


@command()
def fetch(
    source: Annotated[str, typer.Argument(help="rps, kaggle, or the URL of a zip or tar file.")],
    name: Annotated[str | None, typer.Argument(help="After kaggle: OWNER/NAME.")] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="Folder of the data set. Default: data/NAME.")] = None,
    sha256: Annotated[str, typer.Option(help="With a URL: SHA-256 of the file, or its first digits.")] = "",
    max_gb: Annotated[float, typer.Option(help="Largest archive, and largest sum of the files in it, GB.")] = 20.0,
    on_event: OnEvent,
) -> object:
    """Download a data set: rock paper scissors, a data set of Kaggle, or any archive on the web."""
    from headstart.workbench.fetch import fetch as verb

    return verb(source, name, out=out, sha256=sha256, max_gb=max_gb, on_event=on_event)


@command(show=print_backbones)
def backbones() -> object:
    """List the pretrained networks, with size, licence and origin."""
    from headstart.workbench.backbones import list_backbones

    return list_backbones()


@command(show=print_engines)
def engines() -> object:
    """List how fast each engine ran on this machine, for every network that was measured."""
    from headstart.workbench.engines import list_engines

    return list_engines()


@command(show=print_cache)
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove cached features and image facts.")] = False,
) -> object:
    """Show what is cached for later runs, where, and how large it is; or clear it."""
    from headstart.workbench.cache import clear_cache, show_cache

    return clear_cache() if clear else show_cache()


@command()
def pretrain(  # one parameter for each option
    recipe: Annotated[str, typer.Option(help="proof (minutes), short, small (over an hour) or large (GPU).")] = "small",
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; an unfinished one is resumed.")] = Path("pretrained"),
    weights: Annotated[str | None, typer.Option(help="File or URL of the teacher's weights.")] = None,
    start: Annotated[Path | None, typer.Option(help="Folder of a finished pretraining to start from.")] = None,
    gate: Annotated[Path | None, typer.Option(help="Folder of real image sets to evaluate the weights on.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many; the next call resumes.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    on_event: OnEvent,
) -> object:
    """Pretrain the backbone that comes with headstart, on pictures it draws itself; needs no photographs."""
    from headstart.workbench.pretrain import pretrain as verb

    return verb(
        recipe, out=out, weights=weights, start=start, gate=gate, minutes=minutes, offline=offline, on_event=on_event
    )


@command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist yet.")] = Path("demo"),
    *,
    backbone: Annotated[str, typer.Option(help="Network to start from.")] = "auto",
    on_event: OnEvent,
) -> object:
    """Draw pictures of rock, paper and scissors hands and train on them; needs no network connection."""
    from headstart.workbench.demo import demo as verb

    return verb(folder, backbone=backbone, on_event=on_event)


@app.command("help", rich_help_panel="Data sets, backbones, cache")
def show_help(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A command; without one, all of them are listed.")] = "",
) -> None:
    """Show the help of a command."""
    parent = context.parent
    if parent is None or not isinstance(parent.command, TyperGroup):
        raise typer.Abort
    found = parent.command.get_command(parent, name) if name else parent.command
    if found is None:
        show_error(
            RecipeError(
                expected="a command",
                found=repr(name),
                where="headstart help",
                hint=near(name, parent.command.list_commands(parent)),
            )
        )
        raise typer.Exit(2)
    print(found.get_help(typer.Context(found, info_name=name, parent=parent) if name else parent))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"headstart {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """From a folder of images to a classifier you can trust."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code; a user's mistake never shows a traceback.

    What is printed can get lost without harm: the command's work is done whether somebody reads it or not.
    """
    try:
        code = _steady_exit_code(arguments)
    except TerminatedError as stopped:  # before the command had begun, or when it had ended
        code = 128 + stopped.number
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _steady_exit_code(arguments: Sequence[str] | None) -> int:
    streams = StandardStreams()
    try:
        with signals_as_interrupt() as came:
            try:
                code = _exit_code(arguments)
            except Exception:
                if not came:
                    raise
                show_stopped()
            if came:
                code = 128 + came[0]
        lost = streams.lost_output
        if lost is not None:
            show_error(lost)
            code = code or 2
    finally:
        streams.close()
    return code


def _exit_code(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Pillow's remarks on odd files: what matters of them is a finding of ours, with the name of the image
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    place = next((i for i, word in enumerate(words) if not word or _NO_VALUE.fullmatch(word)), None)
    if place is not None:  # as a path it would be the folder one is in
        where = words[place] or (f"behind {words[place - 1]}" if place else "headstart")
        show_error(
            RecipeError(
                expected="words that are not empty",
                found="an empty one, as a variable of the shell gives that is not set",
                where=where,
                hint="Name the file or the value, or leave the option out; . is the folder you are in.",
            )
        )
        return 2
    try:
        os.getcwd()  # noqa: PTH109 - libraries of torch end the process where it fails, with words of their own
    except OSError as error:
        hint = "Go to a folder that is there: cd"
        show_error(os_error(error, "the folder you are in", expected="a folder to work in", hint=hint))
        return 2
    try:
        with started_in_shell(words):
            app(args=words, prog_name="headstart")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0
