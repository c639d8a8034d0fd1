"""Wording: counts, lists of names and shares with their interval as they are said in a reading."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binomtest

from headstart.errors import shown

MOST_NAMED = 8


def many(count: int, word: str) -> str:
    """`1 filter`, `3 filters`, `2 classes`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}{'es' if word.endswith('s') else 's'}"


def listed(names: Sequence[object], most: int = MOST_NAMED) -> str:
    """The first names, made safe to print, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(str(name)) for name in names[:most]) + more


def numbered(numbers: Sequence[int], most: int = 12) -> str:
    """Channels or filters by their numbers."""
    return listed([f"#{number}" for number in numbers], most)


def share_between(hits: int, count: int) -> tuple[float, float, float]:
    """A share and its 95 % interval (Wilson's)."""
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return hits / count, float(interval.low), float(interval.high)


def percent(share: float, low: float, high: float) -> str:
    """`93 % [88, 96]`."""
    return f"{share:.0%} [{100 * low:.0f}, {100 * high:.0f}]".replace("%", " %")
