"""Console and tables of results that need no torch: predictions, backbones, cache, analyses, experiments."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from headstart.cli.wrapped_text import WrappedText, longest_piece
from headstart.errors import shown
from headstart.wording import percent

_WIDTH = 100  # columns of a file or a pipe, unless COLUMNS says otherwise
_NARROWEST = 20  # columns: below, the number is no width
_GAP = 3  # columns between two of a table
_MOST_OF_CLASS = 24  # columns that a class name is sure of
_PREDICTED = ("image", "class", "probability", "next classes")
_LEAST = 12  # columns that text beside a name is sure of
_MOST_COUNTED = 12  # classes in the line of counts
_NUMBERS = ("{:.1f}", "{}", "{:.2f}", "{:.3f}", "{:.0f}")  # million parameters, px, GMAC, accuracy, MB


def console(*, quiet: bool = False) -> Console:
    """A console on stdout that highlights nothing; `quiet` prints nothing."""
    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    made = Console(highlight=False, quiet=quiet, width=None if known else _WIDTH)
    if made.width < _NARROWEST:  # 0 in terminals that do not say their size: nothing at all would be printed
        made.width = _WIDTH
    return made


def safe(text: str, style: str = "") -> Text:
    """Text from outside: no markup in it is obeyed, control characters are escaped."""
    return WrappedText(shown(text), style=style)


class Sentence:
    """Text that keeps a number and its unit on one line also where it is printed by itself.

    A Text that is printed by itself becomes one of rich's own, which breaks at no-break spaces.
    """

    def __init__(self, text: str, style: str = "") -> None:
        self._text = safe(text, style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich draws."""
        yield self._text


def print_text(text: str, out: Console) -> None:
    """Print lines that may hold names from outside; in a terminal sentences are wrapped between words."""
    for line in text.splitlines():
        is_table = line.startswith(" ")
        out.print(Sentence(line), soft_wrap=is_table or not out.is_terminal)


def plain(*, header: bool = False) -> Table:
    """A table without lines."""
    return Table(box=None, show_header=header, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")


def tables_within(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[Table]:
    """A table that is too wide as several, one below the other: each has the first column and as many more as fit.

    Args:
        columns: headings, which may be broken between words. rows: of a list wider than half of the terminal, each name
            has a line. width: columns of the terminal.
    """
    lines = [[cell.split(", ") if cell_len(cell) > width // 2 else [cell] for cell in row] for row in rows]
    cells = [[heading, *(line for row in lines for line in row[i])] for i, heading in enumerate(columns)]
    full = [max(map(cell_len, one)) for one in cells]
    least = [max(map(cell_len, (*one[0].split(), *one[1:]))) for one in cells]
    parts = [[0]]
    for i in range(1, len(columns)):
        if len(parts[-1]) > 1 and _together([*parts[-1], i], least) > width:
            parts.append([0])
        parts[-1].append(i)
    tables = []
    for part in parts:
        tables.append(table := plain(header=True))
        spare = width - _together(part, least)
        for i in part:
            # given, because rich takes from the widest column first, even where it is one word; a name is broken
            # where it must be, a number never
            more = min(full[i] - least[i], max(spare, 0)) if i else min(spare, full[0] - least[0])
            spare -= more
            table.add_column(safe(columns[i]), justify="right", overflow="fold", width=max(least[i] + more, 1))
        for row in lines:
            table.add_row(*(_stacked(row[i]) for i in part))
    return tables


def _stacked(lines: Sequence[str]) -> Text:
    """A cell of several lines."""
    cell = safe(lines[0])
    for line in lines[1:]:
        cell.append("\n").append_text(safe(line))
    return cell


def _together(part: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[i] for i in part) + _GAP * (len(part) - 1)


def print_backbones(entries: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> None:
    """The catalogue of backbones, one line each."""
    table = plain(header=True)
    table.add_column("name", no_wrap=True)
    for name in ("M params", "px", "GMAC", "probe", "MB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("weights' licence", overflow="fold")
    for entry in entries:
        known = (entry["parameters_million"], entry["input_px"], entry["gmac"], entry["accuracy"], entry["download_mb"])
        numbers = [form.format(value) if value else "-" for form, value in zip(_NUMBERS, known, strict=True)]
        licence = re.split(r"; | \(", entry["licence"])[0]  # its name alone: the whole of it takes five lines a row
        table.add_row(safe(entry["name"]), *numbers, safe(licence))
    _print(
        table,
        "probe: accuracy of the default head, mean over five development sets; --backbone fast, balanced (auto) and "
        "accurate choose by it. Weights trained on ImageNet may also be under its terms; list_backbones() has the "
        "licences in full. Any network of timm: --backbone timm:NAME. Your own weights: --weights FILE.",
    )


def print_predictions(predictions: Sequence[Any], out: Console) -> None:
    """Predictions as a table, one line each, and how many images each class got."""
    rows = [_prediction_row(prediction) for prediction in predictions]
    table = plain(header=True)
    widths = _prediction_widths(rows, out.width) if out.is_terminal else (None,) * 4
    for name, width in zip(_PREDICTED, widths, strict=True):
        side: Any = "right" if name == "probability" else "left"
        table.add_column(name, justify=side, overflow="fold", no_wrap=name == "probability", width=width)
    for row in rows:
        table.add_row(*row)
    _print_lines(table, out)
    if len(predictions) > 1:
        counts = Counter(one.answer for one in predictions)
        parts = [f"{count:,} {shown(name)}" for name, count in counts.most_common(_MOST_COUNTED)]
        more = [f"{len(counts) - _MOST_COUNTED} more classes"] if len(counts) > _MOST_COUNTED else []
        out.print(safe(f"{len(predictions):,} images: {', '.join([*parts, *more])}"))
    if written := getattr(predictions, "written", ()):
        out.print(safe(f"Written: {', '.join(f'{path}/' if path.is_dir() else str(path) for path in written)}"))


def _prediction_row(prediction: Any) -> tuple[Text, Text, Text, Text]:
    """Cells of one image: its name, class, probability, and what else is to be said."""
    if prediction.error:
        return safe(prediction.name), Text("unreadable", style="red"), Text(""), safe(prediction.error)
    rest = ", ".join(f"{shown(label)} {percent(share)}" for label, share in prediction.top[not prediction.rejected :])
    doubts = [shown(text) for text in (prediction.damaged, prediction.doubt) if text]
    said = safe("").append("".join(f"{text}; " for text in doubts), style="yellow")
    share, label = Text(percent(prediction.probability)), safe(prediction.label or "")
    if prediction.rejected:
        said = safe("").append(f"{shown(prediction.rejected)}; ", style="yellow")
        share, label = Text(""), Text("-", style="yellow")
    return safe(prediction.name), label, share, said.append(rest)


def _prediction_widths(rows: Sequence[tuple[Text, Text, Text, Text]], width: int) -> tuple[int, int, int, int]:
    """Columns that each of the four takes of a terminal; a name is broken only where it is wider than half of it.

    Given, because rich takes from the widest column first, whichever is to stay whole.
    """
    full = [max(map(cell_len, (name, *(row[i].plain for row in rows)))) for i, name in enumerate(_PREDICTED)]
    label = max(longest_piece(row[1].plain) for row in rows) if rows else 0
    label = max(min(label, _MOST_OF_CLASS), min(full[1], _LEAST))
    spare = max(width - label - full[2] - 3 * _GAP, 2 * _LEAST)
    name = min(full[0], max(width // 2, spare - full[3]), spare - _LEAST)
    return name, label, full[2], min(full[3], spare - name)


def _print_lines(table: Table, out: Console) -> None:
    """Print a table; in a file or a pipe each row stays on its line, without blanks at its end."""
    if out.is_terminal or out.quiet:
        out.print(table)
        return
    wide = Console(highlight=False, width=10_000)
    for line in wide.render_lines(table, pad=False):
        print("".join(piece.text for piece in line).rstrip())


def print_engines(measured: Any, values: Mapping[str, Any]) -> None:
    """Milliseconds an image with each engine, one line for each network and number of threads."""
    names = sorted({name for one in measured.measurements for name in one.seconds})
    if not names:
        console().print("Nothing was measured yet: train and embed measure a network when enough images wait for it.")
        return
    table = plain(header=True)
    table.add_column("ms an image", overflow="fold")
    for name in ("threads", *names):
        table.add_column(name, justify="right", no_wrap=True)
    processors = sorted({one.processor for one in measured.measurements})
    if len(processors) > 1:
        table.add_column("processor", overflow="fold")
    for one in measured.measurements:
        times = [f"{1000 * one.seconds[name]:.1f}" if name in one.seconds else "-" for name in names]
        processor = [safe(one.processor)] if len(processors) > 1 else []
        table.add_row(safe(one.backbone), str(one.threads), *times, *processor)
    note = "The fastest is used by --engine auto. -: not installed, or its features differed from eager's."
    _print(table, note if len(processors) > 1 else f"Measured on {shown(processors[0])}. {note}")


def print_cache(state: Any, values: Mapping[str, Any]) -> None:
    """The contents of the cache."""
    out = console()
    if state.freed_bytes:
        out.print(f"Freed {state.freed_bytes / 1e6:.1f} MB.")
    out.print(Text.assemble("Cache: ", safe(str(state.folder)), "  (HEADSTART_CACHE sets another folder)"))
    table = plain(header=True)
    table.add_column("content")
    for name in ("images", "MB"):
        table.add_column(name, justify="right")
    for entry in state.features:
        table.add_row(safe(entry.title), f"{entry.images:,}", f"{entry.size_bytes / 1e6:.1f}")
    for name, size in state.other_bytes.items():
        table.add_row(safe(name), "", f"{size / 1e6:.1f}", style="dim")
    limit = f"{state.feature_limit_bytes / 1e9:.0f} GB"
    _print(table, f"Features, pixels and activations may take up to {limit} (--cache-limit-gb).")


def print_analyses(entries: Sequence[Mapping[str, str]]) -> None:
    """The analyses of `inspect`, one line each."""
    _print(_named(entries, "analysis", "about"), "Run one: headstart inspect NAME MODEL IMAGES; all writes one page.")


def print_experiments(entries: Sequence[Mapping[str, str]]) -> None:
    """The experiments of `lab`, one line each."""
    _print(_named(entries, "experiment", "claim"), "Run one: headstart lab NAME [--figure FILE.png] [--set NAME=VALUE]")


def print_exercises(entries: Sequence[Mapping[str, str]]) -> None:
    """The exercises of `lab exercises`, one line each."""
    _print(
        _named(entries, "exercise", "task"),
        "Begin one: headstart lab exercise NAME; check it: headstart lab check FILE.py",
    )


def _named(entries: Sequence[Mapping[str, str]], title: str, text: str) -> Table:
    table = plain(header=True)
    table.add_column(title, no_wrap=True)
    table.add_column(text, overflow="fold")
    for entry in entries:
        table.add_row(safe(entry["name"]), safe(entry[text]))
    return table


def _print(table: Table, hint: str) -> None:
    out = console()
    out.print(table)
    out.print(Sentence(hint, style="dim"))
