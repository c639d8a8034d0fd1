"""Commands that take a classifier out of headstart: export, check, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.command import command
from headstart.progress import OnEvent


@command()
def export(
    classifier: Annotated[Path, typer.Argument(help="classifier.safetensors, or the folder of its run.")],
    *,
    to: Annotated[str, typer.Option(help="Format: onnx.")] = "onnx",
    input_: Annotated[
        str, typer.Option("--input", help="image: one of any size; prepared: many at once, resized by the caller.")
    ] = "image",
    images: Annotated[Path | None, typer.Option(help="Images to compare on. Default: those of the run.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write. Default: export, beside the classifier.")] = None,
    on_event: OnEvent,
) -> object:
    """Write a classifier as one ONNX file that needs no torch, after checking that it gives the same answers."""
    from headstart.workbench.export import export as verb

    return verb(classifier, to=to, input=input_, images=images, out=out, on_event=on_event)


def _failed(result: Any) -> bool:
    return not result.passed


@command(failed=_failed)
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
    from headstart.workbench.check import check as verb

    return verb(file, images, against=against, on_event=on_event)


@command()
def serve(
    classifier: Annotated[
        Path, typer.Argument(help="classifier.safetensors, the folder of its run, or an exported .onnx file.")
    ],
    *,
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.", min=0, max=65535)] = 8017,
    listen: Annotated[str, typer.Option(help="Address; any but this machine's own needs a token.")] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(help="What each request must carry. Default: HEADSTART_TOKEN, if it is set.")
    ] = None,
    on_event: OnEvent,
) -> object:
    """Answer predictions over HTTP; on this machine alone unless told otherwise."""
    from headstart.workbench.serve import serve as verb

    return verb(classifier, port=port, listen=listen, token=token, on_event=on_event)
