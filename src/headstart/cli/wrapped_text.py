"""WrappedText: text whose long words, such as paths and class names, are broken where a reader would break them."""

from __future__ import annotations

import itertools
import re
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.containers import Lines
from rich.text import Text

# behind spaces, but not between a number and its %; behind / \ _ within a word; behind a hyphen between letters, so
# that numbers and options stay whole
_BREAKS = re.compile(r"(?<=[^\S\u00a0])(?=[^\s%])|(?<=\w[/\\_])(?=\w)|(?<=[^\W\d]-)(?=[^\W\d])")


class WrappedText(Text):
    """Text that is broken behind spaces and the marks within paths and names; elsewhere where nothing else fits.

    In tables and paddings: a Text that is printed by itself becomes one of rich's own.
    """

    def wrap(self, console: Console, width: int, **options: Any) -> Lines:
        """Lines of at most `width` columns; what is set to be cut off is left to rich."""
        if options.get("no_wrap") or self.no_wrap or (options.get("overflow") or self.overflow) in ("ellipsis", "crop"):
            return super().wrap(console, width, **options)
        lines = Lines()
        for line in self.split(allow_blank=True):
            if "\t" in line:
                line.expand_tabs(options.get("tab_size", 8))
            parts = line.divide(breaks(line.plain, width))
            for part in parts:
                part.rstrip_end(width)
            justify = options.get("justify") or self.justify
            if justify and justify != "default":
                parts.justify(console, width, justify=justify)
            lines.extend(parts)
        return lines


def breaks(text: str, width: int) -> list[int]:
    """Where to break one line, as positions in it.

    Args:
        width: columns of the terminal; wide characters take two.
    """
    found: list[int] = []
    edges = [0, *(match.start() for match in _BREAKS.finditer(text)), len(text)]
    used = 0
    for begin, end in itertools.pairwise(edges):
        piece = text[begin:end]
        if used and used + cell_len(piece.rstrip()) > width:
            found.append(begin)
            used = 0
        for at, character in enumerate(piece, begin):
            columns = cell_len(character)
            if used + columns > width and not character.isspace():  # longer than a line
                found.append(at)
                used = 0
            used += columns
    return found


def longest_piece(text: str) -> int:
    """Columns of the longest part that is not broken."""
    return max((cell_len(piece.strip()) for piece in _BREAKS.split(text)), default=0)
