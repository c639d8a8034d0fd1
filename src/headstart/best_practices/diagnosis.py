"""Diagnosis: which best practices a network breaks, which it follows, and which could not be checked and why."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from headstart.best_practices.rule import SEVERITIES, DoctorFinding
from headstart.errors import shown
from headstart.plain import Plain
from headstart.wording import counted

_WIDTH = 80  # columns of a usual terminal, which would break longer lines without their indent


@dataclass(frozen=True)
class Unchecked(Plain):
    """A rule without a result, and the reason: a missing input, or nothing in the network that it is about."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Diagnosis(Plain):
    """What the doctor finds in a network.

    Args:
        name: of the network.
        findings: rules that it breaks, the worst first.
        passed: names of the rules that were checked and hold.
        not_checked: rules that lack an input or failed; the network may break them.
        not_applicable: rules about something that this network does not have.
    """

    name: str
    findings: tuple[DoctorFinding, ...]
    passed: tuple[str, ...]
    not_checked: tuple[Unchecked, ...]
    not_applicable: tuple[Unchecked, ...]

    @property
    def worst(self) -> str:
        """The worst severity found; empty without findings."""
        return next((severity for severity in SEVERITIES if self.count(severity)), "")

    def count(self, severity: str) -> int:
        """How many findings there are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def summary(self) -> str:
        """`resnet18: 1 error, 2 warnings; 20 rules passed, 6 not checked, 1 not applicable`."""
        plural = {"advice": "advice"}
        counts = [counted(n, kind, plural.get(kind, "")) for kind in SEVERITIES if (n := self.count(kind))]
        rest = f"{counted(len(self.passed), 'rule')} passed, {len(self.not_checked)} not checked"
        if self.not_applicable:
            rest += f", {len(self.not_applicable)} not applicable"
        return f"{shown(self.name)}: {', '.join(counts) or 'no findings'}; {rest}"

    def to_dict(self) -> dict[str, object]:
        """The fields, and `worst`."""
        return {**super().to_dict(), "worst": self.worst}

    def __str__(self) -> str:
        paragraphs = [self.summary, *map(_written, self.findings)]
        rest = []
        if self.passed:
            rest += _wrapped("passed: ", ", ".join(map(shown, self.passed)))
        for title, rules in (("not checked", self.not_checked), ("not applicable", self.not_applicable)):
            if rules:
                rest += [f"{title}:", *(line for text in _by_reason(rules) for line in _wrapped("  ", text))]
        return "\n\n".join([*paragraphs, "\n".join(rest)] if rest else paragraphs)


def _by_reason(rules: tuple[Unchecked, ...]) -> list[str]:
    reasons = dict.fromkeys(one.reason for one in rules)
    return [f"{shown(why)}: {', '.join(shown(one.rule) for one in rules if one.reason == why)}" for why in reasons]


def _written(finding: DoctorFinding) -> str:
    place = f" at {shown(finding.place)}" if finding.places else ""
    lines = [f"{finding.severity}: {shown(finding.name)}{place}"]
    why = f"{finding.why} [{finding.source}]" if finding.source else finding.why
    for title, text in (("found", finding.found), ("why", why), ("fix", finding.fix)):
        lines += _wrapped(f"  {title}: ", shown(text))
    return "\n".join(lines)


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(
        title + text, _WIDTH, subsequent_indent=" " * len(title), break_long_words=False, break_on_hyphens=False
    )
