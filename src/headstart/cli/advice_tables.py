"""Advice in a terminal, at 80 columns: backbones, more images, images to label, augmentations."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from headstart.cli.tables import Sentence, console, plain, safe
from headstart.errors import shown

_MOST = 12  # networks shown; the others are worse still, and all are in --json


def print_backbone_advice(advice: Any) -> None:
    """The ranking, what to take and why, and the command to type next."""
    out = console()
    out.print(_backbone_table(advice))
    fewer = _earlier(advice) if any(one.images < advice.images for one in advice.ranked) else ""
    more = f" The last {len(advice.ranked) - _MOST} are in --json." if len(advice.ranked) > _MOST else ""
    about = (
        f"On {advice.images:,} training images, each predicted without its group{fewer}. error: squared error of the "
        "scores, by which the table is sorted; =: cannot be told apart from the best (95 % interval of the difference, "
        f"in pairs); ms: one image, here.{more}"
    )
    out.print(Sentence(about, style="dim"))
    for why in dict.fromkeys(advice.left_out.values()):
        titles = ", ".join(title for title, own in advice.left_out.items() if own == why)
        out.print(Text.assemble(("! ", "yellow"), shown(f"{titles}: {why}")))
    out.print(Text(f"Licences of the weights: {_licences(advice)}.", style="dim"))
    out.print()
    out.print(Sentence(advice.summary))
    _next(out, advice.command)


def _backbone_table(advice: Any) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True, width=1)
    table.add_column("backbone", overflow="fold", max_width=19)
    for name in ("px", "layers", "error", "accuracy, %", "LogME", "H", "ms", "MB"):
        table.add_column(name, justify="left" if name == "layers" else "right", no_wrap=True)
    for one in advice.ranked[:_MOST]:
        fit, network = one.fit, one.network
        chosen, equal = one is advice.advised, one.is_tied or one.behind is None
        table.add_row(
            "→" if chosen else "=" if equal else "",
            safe(network.backbone),
            str(network.side),
            safe(fit.layers),
            f"{fit.squared_error:.3f}",
            "" if advice.is_few else _accuracy(fit.accuracy),
            f"{fit.logme:.2f}",
            f"{fit.h_score:.2f}",
            f"{network.milliseconds:.0f}",
            f"{network.megabytes:.0f}",
            style="bold green" if chosen else "" if equal else "dim",
        )
    return table


def _next(out: Console, command: str) -> None:
    if command:
        out.print(Text.assemble(("Next: ", "bold"), shown(command)), soft_wrap=True)


def print_more_images(advice: Any) -> None:
    """The learning curve with its forecasts, what each class is worth, and what follows."""
    out, curve = console(), advice.curve
    table = plain(header=True)
    for name in ("training images", "accuracy, %", "95 % interval", "forecast, %", "90 % band"):
        table.add_column(name, justify="right", no_wrap=True)
    for point in curve.points:
        table.add_row(f"{point.images:,}", *_with_ends(point), "", "")
    for one in curve.forecasts:
        table.add_row(f"{one.images:,}", "", "", *_with_ends(one), style="bold")
    out.print(table)
    out.print(Text("Images are predicted without their group.", style="dim"))
    if curve.gains:
        out.print()
        table = plain(header=True)
        table.add_column("class", overflow="fold")
        for name in ("training images", "gain of their second half, points"):
            table.add_column(name, justify="right", no_wrap=True)
        for gain in curve.gains:
            table.add_row(safe(gain.name), f"{gain.images:,}", gain.gained, style="" if gain.is_certain else "dim")
        out.print(table)
        out.print(Text("gain: of balanced accuracy, by its images beyond half of them.", style="dim"))
    out.print()
    out.print(Sentence(advice.summary))
    _next(out, advice.command)


def _with_ends(one: Any) -> tuple[str, str]:
    """1 - error in per cent, and its ends."""
    return f"{(1 - one.error) * 100:.1f}", f"[{(1 - one.high) * 100:.1f}, {(1 - one.low) * 100:.1f}]"


def print_images_to_label(advice: Any) -> None:
    """The images to label, in their order, with what the classifier says of them."""
    out, table = console(), plain(header=True)
    for name, side in (
        ("", "right"),
        ("image", "left"),
        ("between", "left"),
        ("margin", "right"),
        ("density", "right"),
    ):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for number, one in enumerate(advice.chosen, 1):
        between = f"{shown(one.predicted)}, {shown(one.runner_up)}"
        numbers = f"{one.candidate.margin:.2f}", f"{one.candidate.density:.2f}"
        table.add_row(f"{number}", safe(one.path), between, *numbers)
    out.print(table)
    sure = f"{advice.sure * 100:.0f}\u00a0% of the {advice.unlabelled:,} images have a margin above 0.9."
    about = "margin: of the two most probable classes; density: likeness to other images."
    out.print(Sentence(f"{about} {sure}", style="dim"))
    out.print()
    out.print(Text("Put them into the folders of their classes, and train again."))
    _next(out, advice.command)


def print_augmentations(advice: Any) -> None:
    """A line for each transform, and the images that unsafe ones change most."""
    out, table = console(), plain(header=True)
    styles = {"unsafe": "bold red", "harmful": "yellow", "useful": "green", "harmless": "dim"}
    for name in ("transform", "verdict", "why"):
        table.add_column(name, overflow="fold", no_wrap=name != "why")
    for check in advice.checks:
        table.add_row(check.name, Text(check.verdict, style=styles[check.verdict]), safe(check.reason))
    out.print(table)
    for check in advice.checks:
        if check.verdict == "unsafe":
            names = ", ".join(shown(one.name) for one in check.worst)
            out.print(Text.assemble(("! ", "yellow"), f"{check.name} changes most: {names}"))
    about = (
        f"On {advice.images:,} training images, by heads on {advice.backbone} that saw neither them nor their group; "
        f"accuracy {advice.checks[0].before} untransformed, changes in pairs. "
        "unsafe: images of one class become another; harmful: fewer are recognised; useful: the class stays although "
        "the features move far, so training may learn from it."
    )
    out.print(Sentence(about, style="dim"))
    if "horizontal-flip" in (*advice.of("unsafe"), *advice.of("harmful")):
        out.print(Text("Fine-tuning flips images: train with --no-flips, or --augment auto.", style="bold"))


def _accuracy(accuracy: Any) -> str:
    return f"{accuracy.value * 100:.1f} [{accuracy.low * 100:.0f}, {accuracy.high * 100:.0f}]"


def _earlier(advice: Any) -> str:
    counts = sorted({one.images for one in advice.ranked if one.images < advice.images}, reverse=True)
    return f"; those that were worse beyond doubt, or no cheaper, on the first {' or '.join(map(str, counts))} of them"


def _licences(advice: Any) -> str:
    found: dict[str, list[str]] = {}
    for one in advice.ranked:
        names = found.setdefault(re.split(r"; | \(", one.network.licence)[0], [])
        if one.network.backbone not in names:
            names.append(one.network.backbone)
    return "; ".join(shown(f"{', '.join(names)}: {licence}") for licence, names in found.items())
