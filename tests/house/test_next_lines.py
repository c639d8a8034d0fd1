"""Every error of the rooms that meet a user's files and options says what to do next."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "headstart"
_ROOMS = ("cli", "data", "workbench", ".")
_ELSEWHERE = {
    "data/images.py": "BadImage: its reason becomes a finding or a failed row",
    "workbench/fine_tune_images.py": "its reason says it",
    "workbench/recalibrate.py": "said again as another kind",
    "workbench/argument_order.py": "the right order is the next line",
}


def test_errors_have_a_hint() -> None:
    without = {
        str(path.relative_to(SOURCE))
        for room in _ROOMS
        for path in sorted((SOURCE / room).glob("*.py" if room == "." else "**/*.py"))
        if any(_lacks_hint(node) for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    }

    assert without == set(_ELSEWHERE)


def _lacks_hint(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    names = {keyword.arg for keyword in node.keywords}
    return {"expected", "found"} <= names and not names & {"hint", None}
