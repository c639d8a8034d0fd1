"""Lines that a user is told to run: a path in them is quoted, or one with a space could not be pasted."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import typer

from headstart.cli import main

SOURCE = Path(__file__).parents[2] / "src" / "headstart"
_CLI: Any = typer.main.get_command(main.app)  # type: ignore[attr-defined]
COMMANDS = sorted(_CLI.commands)
_COMMAND = re.compile(rf"\bheadstart ({'|'.join(map(re.escape, COMMANDS))})( [^\n`(]*)? $")
QUOTED = {"self.address", "self._tracker", "place"}  # words without a space; `place` is quoted before


def unquoted(text: str) -> list[str]:
    """What stands in a command of an f-string without shlex."""
    found: list[str] = []
    if "headstart " not in text:  # parsing all files takes seconds
        return found
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.JoinedStr):
            continue
        said = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                said += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                value = ast.unparse(part.value)
                if _COMMAND.search(said) and not value.startswith("shlex.") and value not in QUOTED:
                    found.append(value)
                said += "X"
    return found


def test_an_unquoted_path_is_found() -> None:
    assert unquoted('f"Next: headstart predict {path} NEW"') == ["path"]
    assert unquoted('f"headstart predict {shlex.quote(path)} NEW"') == []
    assert unquoted('f"the headstart of {path}"') == []


def test_paths_in_lines_to_run_are_quoted() -> None:
    bare = {str(path.relative_to(SOURCE)): names for path in sorted(SOURCE.rglob("*.py"))
            if (names := unquoted(path.read_text(encoding="utf-8")))}  # fmt: skip
    assert bare == {}
