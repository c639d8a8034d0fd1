"""The generated part of the documentation: commands from typer, options from Recipe with their reasons, public names.

`docs/conf.py` writes them at the start of each build; the pages are not kept in the repository.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import error_list

import headstart
from headstart.recipe import Recipe

DOCS = Path(__file__).parent
OUT = DOCS / "_generated"
_ELSEWHERE = ("index", "start", "lesson_plan", "release-checklist", "package", "formats", "gallery")


def commands_page() -> str:
    """Each command with its arguments and options, as the command line knows them."""
    import typer

    from headstart.cli.main import app

    group: Any = typer.main.get_command(app)
    parts = ["# Commands", "Made from the command line itself. Each takes `--help`, and `--json` for programs."]
    for name, command in _flat(group.commands):
        about = inspect.cleandoc(command.help or "").replace("\b", "")
        parts += [f"## headstart {name}", about]
        rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        if rows:
            parts.append("\n".join(["| option | meaning | default |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _flat(commands: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Commands in the order of their names; those of a group, such as `advise more`, after it."""
    for name, command in sorted(commands.items()):
        yield f"{before}{name}", command
        yield from _flat(getattr(command, "commands", {}), f"{before}{name} ")


def _row(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    default = "" if parameter.default in (None, False, "") or callable(parameter.default) else f"`{parameter.default}`"
    text = (getattr(parameter, "help", "") or "").replace("|", "\\|")
    return f"| {', '.join(f'`{name}`' for name in names)} | {text} | {default} |"


def options_page() -> str:
    """Each field of Recipe: what it does, its default, and the reason of the default, from the comment beside it."""
    reasons = reasons_of(Path(inspect.getfile(Recipe)).read_text(encoding="utf-8"))
    parts = ["# Options and their reasons", "Fields of `headstart.Recipe`; on the command line with hyphens."]
    for field in dataclasses.fields(Recipe):
        choices = field.metadata["choices"]
        parts.append(f"## {field.name.replace('_', '-')}")
        one_of = ", ".join(f"`{choice}`" for choice in choices)
        about = field.metadata["about"] + (f". One of: {one_of}" if choices else "")
        parts.append(f"{about[:1].upper()}{about[1:]}. Default: `{field.default!r}`.")
        if reasons.get(field.name):
            parts.append(f"Why: {reasons[field.name]}")
    return "\n\n".join(parts) + "\n"


def reasons_of(source: str) -> dict[str, str]:
    """Field → the comment above it in the source of the class."""
    lines, found = source.split("\n"), {}
    (recipe,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Recipe"]
    for node in recipe.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            comment: list[str] = []
            for line in reversed(lines[: node.lineno - 1]):
                if not line.strip().startswith("#"):
                    break
                comment.insert(0, line.strip().lstrip("# "))
            found[node.target.id] = " ".join(comment)
    return found


def functions_page() -> str:
    """Each public function and constant with its signature and docstring."""
    names = [name for name in headstart.__all__ if not inspect.isclass(getattr(headstart, name))]
    return _names_page("Functions", names)


def classes_page() -> str:
    """Each public class with its members."""
    return _names_page("Classes", [name for name in headstart.__all__ if inspect.isclass(getattr(headstart, name))])


def _names_page(title: str, names: list[str]) -> str:
    parts = [f"# {title}", "Public names of `headstart`, from their docstrings."]
    for name in sorted(names, key=str.lower):
        value = getattr(headstart, name)
        if inspect.isclass(value):
            directive = "autoclass"
        elif inspect.ismodule(value):
            directive = "automodule"
        elif callable(value):
            directive = "autofunction"
        else:
            parts.append(f"## {name}\n\n`{value!r}`")
            continue
        members = "   :members:\n" if directive == "autoclass" else ""
        target = f"headstart.{name}"
        parts.append(f"## {name}\n\n```{{eval-rst}}\n.. {directive}:: {target}\n{members}```")
    return "\n\n".join(parts) + "\n"


def explanations_page() -> str:
    """All other pages, so that a new one needs no entry."""
    pages = [path.stem for path in sorted(DOCS.glob("*.md")) if path.stem not in _ELSEWHERE]
    decisions = [f"decisions/{path.stem}" for path in sorted((DOCS / "decisions").glob("*.md"))]
    tree = "\n".join(["```{toctree}", ":maxdepth: 1", *(f"/{page}" for page in [*pages, *decisions]), "```"])
    return f"# Explanations\n\nEvery number on these pages was measured on this code.\n\n{tree}\n"


def llms_page() -> str:
    """The list of pages for language models: title and path of each."""
    pages = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts and "pictures" not in path.parts)
    lines = [f"- [{_title(path)}]({path.relative_to(DOCS).with_suffix('.html').as_posix()})" for path in pages]
    return "# headstart\n\n> From a folder of images to a classifier you can trust.\n\n" + "\n".join(lines) + "\n"


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def write_pages() -> None:
    """Write the generated pages but the list of errors."""
    OUT.mkdir(exist_ok=True)
    for page in (commands_page, options_page, functions_page, classes_page, explanations_page):
        (OUT / f"{page.__name__.removesuffix('_page')}.md").write_text(page(), encoding="utf-8")


def write_errors(place: int = 0) -> None:
    """Write the list of errors, a call for `forked`: to parse all of the source takes seconds."""
    OUT.mkdir(exist_ok=True)
    (OUT / "errors.md").write_text(error_list.errors_page(), encoding="utf-8")


def write_llms() -> None:
    """Write the list of pages, when all pages are written."""
    (OUT / "llms.txt").write_text(llms_page(), encoding="utf-8")
