"""Headstart's own rules, and their table in the documentation."""

from __future__ import annotations

from pathlib import Path

from headstart.best_practices.rules import OWN_FILES, RULES, own_rules, table

PACKAGE = Path(__file__).parents[2] / "src" / "headstart" / "best_practices"
DOCS = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_every_rule_in_a_file_of_the_package_is_registered():
    marked = {path.stem for path in PACKAGE.glob("*.py") if "\n@register_rule(" in path.read_text(encoding="utf-8")}
    assert marked == {file.__name__.rpartition(".")[2] for file in OWN_FILES}
    assert {rule.name for rule in own_rules()} == {name for name in RULES if RULES[name].is_own}
    assert len({rule.name for rule in own_rules()}) == len(own_rules())


def test_every_own_rule_names_its_source():
    assert all(rule.source and rule.why and rule.fix for rule in own_rules())


def test_the_documentation_has_the_rules_as_they_are():
    assert table() in DOCS.read_text(encoding="utf-8")
