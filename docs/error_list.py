"""The list of errors, read from the source: each `raise` of a HeadstartError, what it expects and what to do next."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart import errors
from headstart.data.images import BadImage
from headstart.errors import HeadstartError

KINDS: tuple[type[HeadstartError], ...] = tuple(
    kind
    for kind in (*vars(errors).values(), BadImage)
    if inspect.isclass(kind) and issubclass(kind, HeadstartError) and kind is not HeadstartError
)
CODES = """| code | meaning |
|---|---|
| 0 | done |
| 1 | done, but an image could not be read or is damaged, a check failed, or a claim of the lab does not hold |
| 2 | a mistake that you can fix: one of the errors below, or words that the command line does not take |
| 130 | stopped with Ctrl-C; no unfinished file is left |
| 143 | stopped by SIGTERM; no unfinished file is left |
"""


@dataclass(frozen=True)
class Raised:
    """One place in the source that makes an error; `…` stands for what is known only then."""

    kind: str
    file: str
    expected: str
    hint: str


def raised_in(root: Path) -> Iterator[Raised]:
    """Every call that makes one of the kinds, in the order of files and lines."""
    names = {kind.__name__ for kind in KINDS}
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: statement.value.value
            for statement in tree.body
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for node in sorted(calls, key=lambda node: node.lineno):
            if isinstance(node.func, ast.Name) and node.func.id in names:
                words = {word.arg: _text(word.value, constants) for word in node.keywords}
                if words.get("expected", "…") != "…":  # else a text that a helper was given
                    file = path.relative_to(root).as_posix()
                    yield Raised(node.func.id, file, words["expected"], words.get("hint", ""))


def _text(node: ast.expr, constants: Mapping[str, object]) -> str:
    """The text of an expression: literals and constants as they are, `…` for values; of an `A if x else B` both."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return str(constants.get(node.id, "…"))
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, constants)
    if isinstance(node, ast.IfExp):
        return " / ".join(text for part in (node.body, node.orelse) if (text := _text(part, constants)))
    if isinstance(node, ast.BinOp):
        return _text(node.left, constants) + _text(node.right, constants)
    return "…"


def errors_page() -> str:
    """Exit codes, then each kind of error with every place that raises it."""
    found = list(raised_in(Path(inspect.getfile(errors)).parent))
    parts = [
        "# Errors",
        "Made from the source. In Python each is a `headstart.HeadstartError` with `expected`, `found`, ",
    ]
    parts[1] += (
        "`where` and `hint`; on the command line it is four lines on stderr and the exit code 2, never a traceback."
    )
    parts += ["## Exit codes", CODES]
    for kind in KINDS:
        rows = dict.fromkeys((one.expected, one.hint, one.file) for one in found if one.kind == kind.__name__)
        lines = [f"| {_cell(expected)} | {_cell(hint)} | `{file}` |" for expected, hint, file in rows]
        parts += [f"## {kind.__name__}", inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]]
        parts.append("\n".join(["| expected | what to do next | raised in |", "|---|---|---|", *lines]))
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    """Text in a cell of a table, with nothing that Markdown or HTML would read."""
    for sign in "\\`*_[]<>|{}$":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
