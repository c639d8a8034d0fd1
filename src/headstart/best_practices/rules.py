"""All rules: every function marked `@rule` in the files named here. A new rule is one such function in one of them."""

from __future__ import annotations

from types import ModuleType

from headstart.best_practices import (
    activations,
    batch_norm,
    card,
    dropout,
    files,
    head,
    modes,
    optimizer,
    residual,
    weights,
)
from headstart.best_practices.rule import Rule

_FILES = (weights, modes, batch_norm, dropout, residual, activations, head, optimizer, card, files)


def _rules_in(file: ModuleType) -> tuple[Rule, ...]:
    return tuple(value for value in vars(file).values() if isinstance(value, Rule))


RULES: tuple[Rule, ...] = tuple(one for file in _FILES for one in _rules_in(file))


def table() -> str:
    """The rules as a table in Markdown: name, severity, what is needed, why and who says so, and the mend."""
    lines = ["| rule | severity | needs | why | mend |", "|---|---|---|---|---|"]
    for one in RULES:
        severity, needs = " or ".join(one.severities), ", ".join(f"`{need}`" for need in one.needs) or "–"
        lines.append(f"| {one.name} | {severity} | {needs} | {one.why} [{one.source}] | {one.fix} |")
    return "\n".join(lines)
