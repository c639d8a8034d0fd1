"""Commands that take a classifier out of headstart: export, card, track, push, pull, check, serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.command import command
from headstart.cli.tables import console, print_text
from headstart.progress import OnEvent


@command()
def export(  # one parameter for each option
    classifier: Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")],
    *,
    to: Annotated[
        str, typer.Option(help="onnx: one file; onnx-int8; openvino; page: a web page that runs it.")
    ] = "onnx",
    input_: Annotated[
        str, typer.Option("--input", help="image: one of any size; prepared: many at once, resized by the caller.")
    ] = "image",
    images: Annotated[Path | None, typer.Option(help="Images to compare on. Default: those of the run.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write. Default: export, export-int8, openvino or page, beside the classifier."),
    ] = None,
    ort_web: Annotated[
        Path | None,
        typer.Option(help="Folder or npm tarball of onnxruntime-web. Default: fetched once, 33 MB."),
    ] = None,
    on_event: OnEvent,
) -> object:
    """Write a classifier as one ONNX file that needs no torch, after checking that it gives the same answers."""
    from headstart.workbench.export import export as verb

    return verb(classifier, to=to, input=input_, images=images, out=out, ort_web=ort_web, on_event=on_event)


@command()
def card(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    *,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: model_card.md in the folder.")] = None,
) -> object:
    """Write the model card of a run (Markdown, the sections of Mitchell et al. 2019) from what was measured."""
    from headstart.workbench.card import card as verb

    return verb(run, out=out)


@command()
def track(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    *,
    to: Annotated[str, typer.Option(help="tensorboard, mlflow or wandb.")],
    place: Annotated[
        str,
        typer.Option(help="Folder, or for mlflow an address. Default: the tracker's own, such as runs/tensorboard."),
    ] = "",
) -> object:
    """Send a finished run to a tracker; one that is there already stays as it is."""
    from headstart.workbench.track import track as verb

    return verb(run, to=to, place=place)


@command()
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    to: Annotated[str, typer.Argument(help="Repository on the Hugging Face hub: USER/NAME.")],
    *,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Pass on weights whose licence is unknown or restricted.")
    ] = False,
    on_event: OnEvent,
) -> object:
    """Publish a run on the Hugging Face hub with its model card, in one commit; a new repository is private."""
    from headstart.workbench.push import push as verb

    return verb(run, to, accept_licence=accept_licence, on_event=on_event)


@command()
def pull(
    address: Annotated[str, typer.Argument(help="hf://USER/NAME, or with a branch, tag or commit: …@REVISION.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Folder to write. Default: NAME in the working folder.")] = None,
    on_event: OnEvent,
) -> object:
    """Fetch a classifier from the Hugging Face hub: one pinned commit, all hashes checked, opened without pickle."""
    from headstart.workbench.pull import pull as verb

    return verb(address, out=out, on_event=on_event)


def _failed(result: Any) -> bool:
    return not result.passed


def _show_words(result: object, values: Mapping[str, Any]) -> None:  # Terminal.show would need torch
    print_text(str(result), console())


@command(show=_show_words, failed=_failed)
def check(
    file: Annotated[Path, typer.Argument(help="An ONNX file that `headstart export` wrote.")],
    images: Annotated[Path, typer.Argument(help="Image file or folder of images.")],
    *,
    against: Annotated[
        Path | None, typer.Option(help="Classifier or run to compare with. Default: the one beside the file.")
    ] = None,
    on_event: OnEvent,
) -> object:
    """Check that an exported file is whole and gives the answers of its classifier."""
    import headstart  # its `check` is another one where torch is not installed

    return headstart.check(file, images, against=against, on_event=on_event)


@command(show=lambda nothing, values: None)
def serve(  # one parameter for each option
    classifier: Annotated[
        Path, typer.Argument(help="classifier.safetensors, the folder of its run, or an exported .onnx file.")
    ],
    *,
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.", min=0, max=65535)] = 8017,
    listen: Annotated[str, typer.Option(help="Address; any but this machine's own needs a token.")] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(help="What each request must carry. Default: HEADSTART_TOKEN, if it is set.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; each holds the classifier in memory.", min=1)] = 1,
    threshold_policy: Annotated[
        str | None, typer.Option(help="keep or reject doubtful answers. Default: keep, and reject with --reject.")
    ] = None,
    reject: Annotated[
        str | None,
        typer.Option(
            help="Which answers get no class: unfamiliar, unsure, atypical, with commas. Default: unfamiliar."
        ),
    ] = None,
    on_event: OnEvent,
) -> object:
    """Answer predictions over HTTP; on this machine alone unless told otherwise."""
    from headstart.workbench.serve import serve as verb

    return verb(
        classifier,
        port=port,
        listen=listen,
        token=token,
        workers=workers,
        threshold_policy=threshold_policy,
        reject=reject,
        on_event=on_event,
    )
