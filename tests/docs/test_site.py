"""The site: each command that its pages show is one the command line takes, and the reference leaves nothing out."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import headstart
from docs_modules import load
from headstart.cli.main import app
from headstart.recipe import Recipe

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = sorted(page for page in (DOCS / "how_to").glob("*.md") if page.stem != "index")
PAGES = [*sorted(DOCS.glob("*.md")), *HOW_TO]
README = DOCS.parent / "README.md"
LINES = 60  # of a how-to page: it is read on one screen


def commands_of(page: Path) -> list[list[str]]:
    """The `headstart` lines of the bash blocks, in words, comments left out."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("headstart ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return load("make_reference")


@pytest.mark.slow
@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.stem)
def test_each_command_is_one_that_the_command_line_takes(page: Path) -> None:
    group: Any = typer.main.get_command(app)
    for name, *words in commands_of(page):
        command = group.commands[name]
        if hasattr(command, "commands"):  # a group, such as `advise`
            command = command.commands[words.pop(0) if words[0] in command.commands else "backbones"]
        with command.make_context(name, list(words)) as context:  # parses, and raises for an unknown option
            assert not context.args, words


def test_there_are_commands_to_check() -> None:
    assert sum(len(commands_of(page)) for page in PAGES) >= 80


def test_there_are_thirty_tasks_of_one_screen_each() -> None:
    assert len(HOW_TO) >= 30
    for page in HOW_TO:
        shown = re.sub(r"<!--.*?-->", "", page.read_text("utf-8"), flags=re.DOTALL)
        assert len(shown.splitlines()) <= LINES, page.name


def test_the_reference_has_every_command_option_and_public_name(reference: ModuleType) -> None:
    group: Any = typer.main.get_command(app)
    commands, options = reference.commands_page(), reference.options_page()
    names = reference.functions_page() + reference.classes_page()

    assert all(f"## headstart {name}\n" in commands for name in group.commands)
    assert "## headstart advise more\n" in commands
    shown = re.findall(r"^## headstart (.+)$", commands, re.MULTILINE)
    assert shown == sorted(shown)
    given = [option for command in group.commands.values() for one in command.params for option in one.opts]
    assert all(f"{option}" in commands for option in given if option.startswith("--"))
    assert all(f"## {field.name.replace('_', '-')}\n" in options for field in dataclasses.fields(Recipe))
    assert all(f"## {name}\n" in names for name in headstart.__all__)


def test_options_have_the_reasons_that_stand_beside_them(reference: ModuleType) -> None:
    reasons = reference.reasons_of(Path(headstart.__file__).with_name("recipe.py").read_text("utf-8"))

    assert "five million images" in reasons["cache_limit_gb"]
    assert set(reasons) == {field.name for field in dataclasses.fields(Recipe)}


def test_every_page_is_on_the_site_and_in_the_list_for_language_models(reference: ModuleType) -> None:
    listed, explained = reference.llms_page(), reference.explanations_page()

    assert all(f"({page.relative_to(DOCS).with_suffix('.html').as_posix()})" in listed for page in PAGES)
    assert all(f"/{page.stem}\n" in explained for page in (DOCS / "trust.md", DOCS / "statistics.md"))
    assert "/index\n" not in explained
