"""The command `lab`: list the experiments, or run one, show its verdict and write its picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from headstart.cli.tables import plain
from headstart.errors import RecipeError, shown
from headstart.lab.catalogue import CLAIMS, names, run_experiment

_KINDS = (".png", ".svg", ".pdf")


def lab(name: str, *, settings: Sequence[str] = (), figure: Path | None = None, as_json: bool = False) -> bool:
    """Run an experiment and print it; without a name, list all. The answer is whether its claim holds.

    Args:
        settings: `NAME=VALUE` each, the value as in JSON.

    Raises:
        RecipeError: no such experiment or setting, or the picture cannot be written there.
    """
    if not name:
        _list(as_json)
        return True
    if figure is not None and figure.suffix.lower() not in _KINDS:
        raise RecipeError(expected=" or ".join(_KINDS), found=repr(figure.suffix), where="--figure")
    experiment = run_experiment(name, **dict(map(_setting, settings)))
    if as_json:
        json.dump(experiment.to_dict(), sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
    else:
        _console().print(Text(shown_lines(str(experiment))), soft_wrap=True)
    if figure is not None:
        _write(experiment.figure(), figure)
    return bool(experiment.holds)


def shown_lines(text: str) -> str:
    """Text of several lines, safe to print."""
    return "\n".join(shown(line) for line in text.split("\n"))


def _list(as_json: bool) -> None:
    if as_json:
        json.dump([{"name": name, "claim": CLAIMS[name]} for name in names()], sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    table = plain(header=True)
    table.add_column("experiment", no_wrap=True)
    table.add_column("claim", overflow="fold")
    for name in names():
        table.add_row(Text(name), Text(CLAIMS[name]))
    _console().print(table)
    _console().print(Text("Run one: headstart lab NAME [--figure FILE.png] [--set NAME=VALUE]", style="dim"))


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(expected="NAME=VALUE", found=repr(text), where="--set", hint="For instance --set seed=7.")
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value  # a word
    try:
        json.dumps(parsed, allow_nan=False)
    except ValueError as error:  # Python reads NaN, Infinity and 1e999, which are no JSON
        raise RecipeError(expected="a finite number", found=repr(value), where=f"--set {name}") from error
    return name.strip().replace("-", "_"), tuple(parsed) if isinstance(parsed, list) else parsed


def _write(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise RecipeError(expected="a file that can be written", found=str(error), where="--figure") from error


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 100)
