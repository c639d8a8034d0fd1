"""Wording: numbers, durations and lists as headstart writes them wherever people read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from headstart.errors import shown

NBSP = "\u00a0"  # keeps a number and its unit on one line
_NAMES = 8  # names listed before "and N more"
_NUMBERS = 12
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:[,'’\s]\d{3})+(?:\.\d+)?")  # 1,000, 1 000 and 1’000


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 image`, `1,200 images`, `2 classes`."""
    several = plural or (f"{noun}es" if noun.endswith("s") else f"{noun}s")
    return f"{number:,} {noun if number == 1 else several}"


def listed(names: Sequence[object], most: int = _NAMES) -> str:
    """The first names, made safe to print, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(str(name)) for name in names[:most]) + more


def numbered(numbers: Sequence[int], most: int = _NUMBERS) -> str:
    """Channels or filters by their numbers: `#3, #17`."""
    return listed([f"#{number}" for number in numbers], most)


def percent(share: float | None) -> str:
    """`95.4 %`, with a no-break space; a dash for what is not defined."""
    return "–" if share is None or math.isnan(share) else f"{share * 100:.1f}{NBSP}%"


def with_sign(value: float, digits: int) -> str:
    """`+0.18`, `-0.20`; what rounds to zero is `+0.00`, from below too."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def spelled_number(label: str) -> float | None:
    """The number that a label spells, such as 1000 for `1,000`, `1000.0` and `01000`; None for other labels."""
    text = label.strip()
    if _THOUSANDS.fullmatch(text):
        text = re.sub(r"[,'’\s]", "", text)
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
