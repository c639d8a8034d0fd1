"""The command `lab`: list the experiments, or run one, show its verdict and write its figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from headstart.cli.command import command
from headstart.cli.tables import console, print_experiments
from headstart.errors import RecipeError, shown
from headstart.lab.catalogue import CLAIMS, run_experiment
from headstart.untrusted import NotFinite, Untrusted, parse_json


def _show_experiment(found: object, values: Mapping[str, Any]) -> None:
    if isinstance(found, list):
        print_experiments(found)
    else:
        console().print(Text("\n".join(map(shown, str(found).split("\n")))), soft_wrap=True)


@command(show=_show_experiment, failed=lambda found: not isinstance(found, list) and not found.holds)
def lab(
    name: Annotated[str, typer.Argument(help="Name of an experiment; left out, all are listed.")] = "",
    *,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: NAME=VALUE.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Write the figure into this png, svg or pdf file.")] = None,
) -> object:
    """Run an experiment of the textbook, and say whether its claim holds on this machine."""
    if not name:
        return [{"name": known, "claim": claim} for known, claim in CLAIMS.items()]
    from headstart.workbench.figure_file import check_figure, write_figure

    if figure is not None:
        check_figure(figure)
    experiment = run_experiment(name, **dict(map(_setting, change or ())))
    if figure is not None:
        write_figure(experiment.figure(), figure)
    return experiment


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(expected="NAME=VALUE", found=repr(text), where="--set", hint="For example --set seed=7.")
    try:
        parsed = parse_json(value)
    except NotFinite as error:  # NaN, Infinity and 1e999 are no JSON, and no words either
        raise RecipeError(expected="a finite number", found=repr(value), where=f"--set {name}") from error
    except Untrusted:
        parsed = value  # a word
    return name.strip().replace("-", "_"), tuple(parsed) if isinstance(parsed, list) else parsed
