"""Diagnosis: which rules a network breaks, which it passes, and which could not be checked for want of what."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from headstart.best_practices.rule import SEVERITIES, DoctorFinding
from headstart.errors import shown

_WIDTH = 110


@dataclass(frozen=True)
class Unchecked:
    """A rule that nothing can be said about, and why: an input that it lacks, or nothing there that it concerns."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor says of a network.

    Args:
        name: of the network.
        findings: rules that it breaks, the worst first.
        passed: names of the rules that were checked and hold.
        not_checked: rules that lack an input; they may well be broken.
        not_concerned: rules about what this network does not have.
    """

    name: str
    findings: tuple[DoctorFinding, ...]
    passed: tuple[str, ...]
    not_checked: tuple[Unchecked, ...]
    not_concerned: tuple[Unchecked, ...]

    @property
    def worst(self) -> str:
        """The worst severity found; empty when nothing was."""
        return next((kind for kind in SEVERITIES if self.count(kind)), "")

    def count(self, severity: str) -> int:
        """How many findings there are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def summary(self) -> str:
        """`resnet18: 1 error, 2 warnings; 20 rules passed, 6 not checked, 1 does not concern it`."""
        names = ("error", "warning", "advice")
        counts = [f"{n} {kind}{'s' if n > 1 and kind != 'advice' else ''}" for kind in names if (n := self.count(kind))]
        rest = f"{_rules(len(self.passed))} passed, {len(self.not_checked)} not checked"
        if self.not_concerned:
            rest += f", {len(self.not_concerned)} about what it does not have"
        return f"{shown(self.name)}: {', '.join(counts) or 'nothing found'}; {rest}"

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "worst": self.worst,
            "findings": [finding.to_dict() for finding in self.findings],
            "passed": list(self.passed),
            "not_checked": [vars(one) for one in self.not_checked],
            "not_concerned": [vars(one) for one in self.not_concerned],
        }

    def __str__(self) -> str:
        parts = [self.summary, *map(_written, self.findings)]
        rest = []
        if self.passed:
            rest += _wrapped("passed: ", ", ".join(self.passed))
        for title, those in (("not checked", self.not_checked), ("not concerned", self.not_concerned)):
            if those:
                rest += [f"{title}:", *(line for text in _by_reason(those) for line in _wrapped("  ", text))]
        return "\n\n".join([*parts, "\n".join(rest)] if rest else parts)


def _by_reason(those: tuple[Unchecked, ...]) -> list[str]:
    reasons = dict.fromkeys(one.reason for one in those)
    return [f"{shown(why)}: {', '.join(one.rule for one in those if one.reason == why)}" for why in reasons]


def _written(finding: DoctorFinding) -> str:
    place = f" at {shown(finding.place)}" if finding.places else ""
    lines = [f"{finding.severity}: {finding.name}{place}"]
    why = f"{finding.why} [{finding.source}]"
    for title, text in (("found", shown(finding.found)), ("why", why), ("mend", finding.fix)):
        lines += _wrapped(f"  {title}: ", text)
    return "\n".join(lines)


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(
        title + text, _WIDTH, subsequent_indent=" " * len(title), break_long_words=False, break_on_hyphens=False
    )


def _rules(number: int) -> str:
    return f"{number} rule{'s' if number != 1 else ''}"
