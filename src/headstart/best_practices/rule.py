"""Rule: one rule of the trade as plain values and a function that checks it; and what it may find."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from headstart.best_practices.examination import Examination

SEVERITIES = ("error", "warning", "advice")  # wrong results · probably not meant · could be better

_NAMED = 3  # places written out; all of them are in the plain values


@dataclass(frozen=True)
class Issue:
    """What a rule's function finds: where, what was seen there, and how bad it is (the rule's first if not said)."""

    places: tuple[str, ...]
    found: str
    severity: str = ""


@dataclass(frozen=True)
class Rule:
    """A rule of the trade.

    Args:
        name: as shown, and as named in the documentation.
        severities: those that it can give, the usual one first.
        needs: what must be handed in besides the model: `images`, `optimizer`, `batch_size`, `steps`, `file`.
        why: what goes wrong, one or two sentences. source: who says so. mend: what to do.
        only_with: kinds of modules without which it says nothing; empty: for every network.
        check: finds its faults; raises `NotCheckedError` where it cannot tell.
    """

    name: str
    severities: tuple[str, ...]
    needs: tuple[str, ...]
    why: str
    source: str
    fix: str
    only_with: tuple[type[nn.Module], ...]
    check: Callable[[Examination], Iterable[Issue]]


def rule(
    name: str,
    *severities: str,
    needs: tuple[str, ...] = (),
    why: str,
    source: str,
    fix: str,
    only_with: tuple[type[nn.Module], ...] = (),
) -> Callable[[Callable[[Examination], Iterable[Issue]]], Rule]:
    """Make a rule of a function; all that stand in a file listed in `rules.py` are checked."""
    return lambda check: Rule(name, severities, needs, why, source, fix, only_with, check)


@dataclass(frozen=True)
class DoctorFinding:
    """A rule that a network breaks.

    Args:
        name: of the rule. severity: one of SEVERITIES.
        places: paths of modules or names of parameters; empty where it concerns the whole network.
        found: what was seen there. why, source, mend: as in the rule.
    """

    name: str
    severity: str
    places: tuple[str, ...]
    found: str
    why: str
    source: str
    fix: str

    @property
    def place(self) -> str:
        """The first places and how many more there are."""
        more = len(self.places) - _NAMED
        return ", ".join(self.places[:_NAMED]) + (f" and {more} more" if more > 0 else "")

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**vars(self), "places": list(self.places), "place": self.place}
