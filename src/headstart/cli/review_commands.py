"""Commands that change what a run was trained on: review, forget, add-class."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer
from rich.text import Text

from headstart.cli.command import command
from headstart.cli.tables import console, plain, safe
from headstart.errors import DataError, RecipeError, shown
from headstart.options import AddClassOptions
from headstart.progress import OnEvent
from headstart.wording import counted

_TITLES = {"train": "Training images", "validation": "Validation images", "test": "Test images"}
_SHOWN = 15  # of each split in the terminal; the page and --json have more


def _show_review(review: Any, values: Mapping[str, Any]) -> None:
    out = console()
    if values.get("drop") or values.get("relabel") or values.get("keep") or values.get("undo"):
        if len(review.decisions):
            out.print(safe(str(_what_if(review))))
            out.print(Text.assemble(("Next: ", "bold"), shown(review.apply_command)), soft_wrap=True)
        return
    training = len(review.rows.indices("train"))
    suspects = review.count()
    looks = f"{counted(suspects, 'training image')} of {training:,} {'looks' if suspects == 1 else 'look'} like"
    wrong = f"estimated number of wrong labels: {review.expected:.0f}"
    out.print(Text(f"{looks} another class; {wrong}.", style="bold"))
    found = review.suspects
    for split, title in _TITLES.items():
        chosen = [one for one in found if one.split == split][:_SHOWN]
        if not chosen:
            continue
        out.print()
        note = ": decisions about them change no reported number" if split == "test" else ""
        out.print(Text(f"{title}{note}", style="bold"))
        table = plain(header=True)
        table.add_column("image", overflow="fold")
        table.add_column("label", overflow="fold")
        table.add_column("looks like", overflow="fold")
        table.add_column("margin", justify="right", no_wrap=True)
        table.add_column("decided", overflow="fold")
        for one in chosen:
            decided = "" if one.decision is None else one.decision.new or one.decision.action
            table.add_row(*map(safe, (one.image, one.label, one.suggested, f"{one.margin:.2f}", decided)))
        out.print(table)
        if review.count(split) > len(chosen):
            more = "on the page" if values.get("out") else "--out review.html shows them"
            out.print(Text(f"and {review.count(split) - len(chosen):,} more: {more}", style="dim"))
    for note in review.notes:
        out.print(safe(note, style="dim"))
    out.print()
    run = shown(str(review.run.folder))
    again = f"headstart review {shlex.quote(str(run))}"
    out.print(Text(f"Decide: {again} --relabel IMAGE=CLASS (or --drop IMAGE, --keep IMAGE, --undo)"))


def _what_if(review: Any) -> Any:
    try:
        return review.what_if()
    except DataError as error:  # the decisions leave a class without images, and are on the disk by now
        again = f"headstart review {shlex.quote(shown(str(review.run.folder)))} --undo"
        error.where = str(review.file)
        error.hint = (
            f"All decisions are kept. Decide otherwise about an image of the class, or take back the last one: {again}"
        )
        raise


@command(show=_show_review)
def review(  # one parameter for each option
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    *,
    drop: Annotated[list[str] | None, typer.Option(help="Image not to train on; may be given again.")] = None,
    relabel: Annotated[list[str] | None, typer.Option(help="IMAGE=CLASS: its true class; may be given again.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Image whose label is right; may be given again.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last decision back.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write suspects with thumbnails into this HTML page.")] = None,
    most: Annotated[int, typer.Option(help="Suspects of each split that are listed.", min=1)] = 100,
    on_event: OnEvent,
) -> object:
    """Find images whose labels are likely wrong, and decide about them; no image is changed."""
    from headstart.workbench.review import review as verb

    pairs = dict(_pair(text) for text in relabel or ())
    return verb(run, drop=drop or (), relabel=pairs, keep=keep or (), undo=undo, out=out, most=most, on_event=on_event)


@command()
def forget(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    images: Annotated[list[str], typer.Argument(help="Images to remove: names in the data set, or paths.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run. Default: RUN-2 and on.")] = None,
    on_event: OnEvent,
) -> object:
    """Remove images from a run exactly, as if it had never seen them; writes a new run with a certificate."""
    from headstart.workbench.forget import forget as verb

    return verb(run, images, out=out, on_event=on_event)


@command(name="add-class")
def add_class(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    images: Annotated[Path, typer.Argument(help="Folder with images of the new class.")],
    *,
    name: Annotated[str, typer.Option(help="Name of the class. Default: that of the folder.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder of the new run. Default: RUN-2 and on.")] = None,
    on_event: OnEvent,
    **options: Unpack[AddClassOptions],
) -> object:
    """Add a class to a run; only the new images pass the network, and a new run is written."""
    from headstart.workbench.add_class import add_class as verb

    return verb(run, images, name=name, out=out, on_event=on_event, **options)


def _pair(text: str) -> tuple[str, str]:
    image, sign, label = text.rpartition("=")
    if not (sign and image and label):
        raise RecipeError(
            expected="IMAGE=CLASS", found=repr(text), where="--relabel", hint="As in --relabel train/ants/1.jpg=bees"
        )
    return image, label
