"""House rules on arguments: at most six parameters, three of them positional; values are built by keyword."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "headstart"
MOST, MOST_POSITIONAL, MOST_VALUES = 6, 3, 4


def long_signatures(path: Path) -> list[str]:
    """Functions with too many parameters and no comment on their signature that says why."""
    text = path.read_text("utf-8")
    lines, found = text.splitlines(), []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        positional = [one.arg for one in [*node.args.posonlyargs, *node.args.args] if one.arg not in ("self", "cls")]
        total = len(positional) + len(node.args.kwonlyargs)
        # on its first or last line, or the line before; a comment on one parameter is a reason for that one alone
        end = next(i for i in range(node.lineno - 1, len(lines)) if lines[i].split("  # ")[0].rstrip().endswith(":"))
        reason = any("# " in lines[i] for i in {max(0, node.lineno - 2), node.lineno - 1, end, end + 1})
        if (total > MOST or len(positional) > MOST_POSITIONAL) and not reason:
            found.append(f"{node.name}: {len(positional)} positional, {total} in all")
    return found


def long_constructions(path: Path) -> list[str]:
    """Values that are built with more than four positional arguments."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and len(node.args) > MOST_VALUES:
            name = ast.unparse(node.func).rpartition(".")[2]
            if name[:1].isupper() and not name.isupper():
                found.append(f"line {node.lineno}: {name} with {len(node.args)} positional values")
    return found


@pytest.mark.parametrize("room", sorted({path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py")}))
def test_signatures_stay_short(room: str) -> None:
    paths = sorted((SOURCE / room).rglob("*.py")) if (SOURCE / room).is_dir() else [SOURCE / room]
    wrong = {
        str(path.relative_to(SOURCE)): found
        for path in paths
        if (found := [*long_signatures(path), *long_constructions(path)])
    }
    assert not wrong


def test_a_long_signature_needs_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("def f(a, b, c, d):\n    return Value(1, 2, 3, 4, 5)\n")
    assert long_signatures(file) == ["f: 4 positional, 4 in all"]
    assert long_constructions(file) == ["line 2: Value with 5 positional values"]
    file.write_text("def f(a, b, c, d):  # the four corners\n    return Value(1, 2, 3, 4)\n")
    assert long_signatures(file) == long_constructions(file) == []
