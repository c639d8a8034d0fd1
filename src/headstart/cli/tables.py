"""Small tables that need no event and no torch: the catalogue and the cache."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from headstart.errors import shown


def safe(text: str) -> Text:
    """Text from outside: no markup in it is obeyed, control characters are escaped."""
    return Text(shown(text))


def plain(*, header: bool = False) -> Table:
    """A table without lines."""
    return Table(box=None, show_header=header, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")


def print_backbones(rows: Sequence[Mapping[str, Any]]) -> None:
    """The catalogue: one line for each backbone."""
    table = plain(header=True)
    heads = (("name", "left"), ("M params", "right"), ("px", "right"), ("GMAC", "right"), ("MB", "right"))
    for name, justify in heads:
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("licence of the weights", overflow="fold")
    for row in rows:
        size = f"{row['download_mb']:.0f}" if row["download_mb"] else "-"
        numbers = (f"{row['parameters_million']:.1f}", str(row["input_px"]), f"{row['gmac']:.2f}", size)
        table.add_row(safe(row["name"]), *numbers, safe(row["licence"]))
    console = _console()
    console.print(table)
    console.print(Text("Any network of timm: --backbone timm:NAME. Your own weights: --weights FILE.", style="dim"))


def print_cache(told: Any) -> None:
    """What the cache holds."""
    console = _console()
    if told.freed_bytes:
        console.print(f"Freed {told.freed_bytes / 1e6:.1f} MB.")
    console.print(Text.assemble("Cache: ", safe(str(told.folder)), "  (HEADSTART_CACHE names another place)"))
    table = plain(header=True)
    for name, justify in (("kept", "left"), ("rows", "right"), ("MB", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for entry in told.features:
        table.add_row(safe(entry.title), f"{entry.images:,}", f"{entry.size_bytes / 1e6:.1f}")
    for name, size in told.other_bytes.items():
        table.add_row(safe(name), "", f"{size / 1e6:.1f}", style="dim")
    console.print(table)
    console.print(
        Text(
            f"Features, pixels and activations may reach {told.feature_limit_bytes / 1e9:.0f} GB (--cache-limit-gb).",
            style="dim",
        )
    )


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 100)
