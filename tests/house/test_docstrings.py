"""Every public function, class and module says in one sentence what it is."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "headstart"


def test_public_things_have_a_docstring_whose_first_line_is_a_sentence() -> None:
    wrong = [one for path in sorted(SOURCE.rglob("*.py")) for one in without_a_sentence(path)]
    assert not wrong


def without_a_sentence(path: Path) -> list[str]:
    """Public names of a file whose docstring is missing or begins with no sentence; the file itself if it has none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = [] if ast.get_docstring(tree) else [str(path)]
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for scope in [tree, *classes]:
        for node in scope.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list):
                    continue
                text = ast.get_docstring(node) or ""
                sentence = " ".join(text.split("\n\n")[0].split())
                if not sentence or sentence[-1] not in ".:…":
                    wrong.append(f"{path}: {node.name}")
    return wrong
