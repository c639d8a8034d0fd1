"""Commands that advise: which backbone, how many more images, which of them to label, which augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer

from headstart.cli.advice_tables import (
    print_augmentations,
    print_backbone_advice,
    print_images_to_label,
    print_more_images,
)
from headstart.cli.command import command, command_group
from headstart.options import AdviseOptions, AugmentOptions, PredictOptions
from headstart.progress import OnEvent

ADVISE = command_group(
    "advise",
    "What to do next, measured on the training images alone. headstart advise photos/ ranks backbones.",
    default="backbones",
)

_DATASET = "Folder of class folders, or of train/ and test/ folders; csv table; zip or tar."


def _show_backbones(advice: Any, values: Mapping[str, Any]) -> None:
    print_backbone_advice(advice)


@command(name="backbones", show=_show_backbones, group=ADVISE)
def advise_backbones(  # one parameter for each option
    source: Annotated[Path, typer.Argument(help=_DATASET)],
    *,
    backbones: Annotated[
        str, typer.Option(help="Names with commas, NAME=FILE with weights. Default: all whose weights are here.")
    ] = "",
    sides: Annotated[
        str,
        typer.Option(help="Sides of the input in px, with commas. Default: that of the weights, 0.7 and 1.3 of it."),
    ] = "",
    minutes: Annotated[float, typer.Option(help="Skip networks that would take longer than this.")] = 5.0,
    out: Annotated[Path | None, typer.Option(help="Folder for advice.json and a figure, accuracy over cost.")] = None,
    on_event: OnEvent,
    **options: Unpack[AdviseOptions],
) -> object:
    """Rank backbones, stages and image sizes for your images, with what each costs; `advise photos/` for short."""
    from headstart.workbench.advise import advise as verb

    return verb(source, backbones=backbones, sides=sides, minutes=minutes, out=out, on_event=on_event, **options)


def _show_more(advice: Any, values: Mapping[str, Any]) -> None:
    print_more_images(advice)


@command(name="more", show=_show_more, group=ADVISE)
def advise_more(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    *,
    seed: Annotated[int, typer.Option(help="Seed of the subsets.", min=0)] = 0,
    on_event: OnEvent,
) -> object:
    """Forecast the accuracy with more images, and name the class that gains most; a few seconds, no image is read."""
    from headstart.workbench.advise_more import advise_more as verb

    return verb(run, seed=seed, on_event=on_event)


def _show_label(advice: Any, values: Mapping[str, Any]) -> None:
    print_images_to_label(advice)


@command(name="label", show=_show_label, group=ADVISE)
def advise_label(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Files and folders of images without labels. Default: unlabelled beside the classes."),
    ] = None,
    *,
    count: Annotated[int, typer.Option(help="Images to choose.", min=1)] = 20,
    on_event: OnEvent,
    **options: Unpack[PredictOptions],
) -> object:
    """Choose the unlabelled images whose labels would teach the classifier most."""
    from headstart.workbench.advise_label import advise_label as verb

    return verb(run, images, count=count, on_event=on_event, **options)


def _show_augment(advice: Any, values: Mapping[str, Any]) -> None:
    print_augmentations(advice)


@command(name="augment", show=_show_augment, group=ADVISE)
def advise_augment(  # one parameter for each option
    source: Annotated[Path, typer.Argument(help=_DATASET)],
    *,
    transforms: Annotated[str, typer.Option(help="Names with commas, such as horizontal-flip,hue. Default: all.")] = "",
    most: Annotated[int, typer.Option(help="Largest number of images.", min=20)] = 200,
    figure: Annotated[
        Path | None, typer.Option(help="Draw what unsafe transforms change most: png, svg or pdf file.")
    ] = None,
    on_event: OnEvent,
    **options: Unpack[AugmentOptions],
) -> object:
    """Check which augmentations keep the class of your images: a flipped left arrow is a right arrow."""
    from headstart.workbench.advise_augment import advise_augment as verb

    return verb(source, transforms=transforms, most=most, figure=figure, on_event=on_event, **options)
