"""All rules: headstart's own, then those of installed packages and of the running script."""

from __future__ import annotations

# isort: off  (their order is that of the findings and of the table in docs/doctor.md)
from headstart.best_practices import (
    activations,
    backward,
    batch_mixing,
    batch_norm,
    card,
    dropout,
    head,
    initialisation,
    loss_reach,
    loss_settings,
    modes,
    optimizer,
    places,
    residual,
    structure,
    training_step,
    weights,
)

# isort: on
from headstart.best_practices.rule import RULES, Rule, register_rule

__all__ = ["OWN_FILES", "RULES", "own_rules", "register_rule", "table"]

OWN_FILES = (
    *(weights, modes, structure, batch_norm, dropout, residual, batch_mixing, places, backward),
    *(initialisation, activations, head, optimizer, training_step, loss_reach, loss_settings, card),
)


def own_rules() -> tuple[Rule, ...]:
    """Headstart's own rules, in order."""
    return tuple(value for file in OWN_FILES for value in vars(file).values() if isinstance(value, Rule))


def table() -> str:
    """Headstart's own rules as a table in Markdown: name, severity, needs, why with its source, and the fix."""
    lines = ["| rule | severity | needs | why | fix |", "|---|---|---|---|---|"]
    for one in own_rules():
        severity, needs = " or ".join(one.severities), ", ".join(f"`{need}`" for need in one.needs) or "–"
        lines.append(f"| {one.name} | {severity} | {needs} | {one.why} [{one.source}] | {one.fix} |")
    return "\n".join(lines)
