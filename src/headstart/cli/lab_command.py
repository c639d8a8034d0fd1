"""The command `lab`: list the experiments, or run one, show its verdict and write its figure; exercises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from headstart.cli.command import command
from headstart.cli.tables import console, print_exercises, print_experiments, print_text
from headstart.errors import RecipeError, shown
from headstart.lab.catalogue import CLAIMS, run_experiment
from headstart.progress import OnEvent
from headstart.untrusted import NotFinite, Untrusted, parse_json

_EXERCISE_WORDS = ("exercises", "exercise", "check")


def _show_experiment(found: object, values: Mapping[str, Any]) -> None:
    if isinstance(found, list):
        (print_exercises if values.get("name") == "exercises" else print_experiments)(found)
    elif isinstance(found, Path):
        console().print(Text(f"Written: {shown(str(found))}"), soft_wrap=True)
    else:
        print_text(str(found), console())


def _failed(found: Any) -> bool:
    return not (found.passed if hasattr(found, "passed") else getattr(found, "holds", True))


@command(show=_show_experiment, failed=_failed)
def lab(  # seven: experiments and exercises are one room, and one command
    name: Annotated[
        str,
        typer.Argument(
            help="Name of an experiment; left out, all are listed. Or: exercises, exercise NAME, check FILE."
        ),
    ] = "",
    target: Annotated[str, typer.Argument(help="The exercise to write, or the file to check.")] = "",
    *,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: NAME=VALUE.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Write the figure into this png, svg or pdf file.")] = None,
    out: Annotated[Path | None, typer.Option(help="With exercise: the file to write. Default: NAME.py.")] = None,
    solution: Annotated[bool, typer.Option("--solution", help="With exercise: write one that passes.")] = False,
    on_event: OnEvent,
) -> object:
    """Run an experiment of the textbook, and say whether its claim holds on this machine; or check an exercise.

    `headstart lab check FILE` runs FILE, which is a program, with your rights and a time limit of 60 s.
    """
    if name in _EXERCISE_WORDS:
        return _exercise(name, target, out=out, solution=solution, on_event=on_event)
    if target or out is not None or solution:
        words = ", ".join(_EXERCISE_WORDS)
        raise RecipeError(
            expected=f"{words} before it",
            found=repr(name),
            where=target or "--out, --solution",
            hint="headstart help lab shows the order.",
        )
    if not name:
        return [{"name": known, "claim": claim} for known, claim in CLAIMS.items()]
    from headstart.workbench.figure_file import check_figure, write_figure

    if figure is not None:
        check_figure(figure)
    experiment = run_experiment(name, **dict(map(_setting, change or ())))
    if figure is not None:
        write_figure(experiment.figure(), figure)
    return experiment


def _exercise(word: str, target: str, *, out: Path | None, solution: bool, on_event: OnEvent) -> object:
    from headstart.lab.exercises.check_file import EXERCISES, check_file, write_exercise

    if word == "exercises":
        return [{"name": each.name, "task": f"level {each.level}: {each.title}"} for each in EXERCISES.values()]
    if not target:
        expected = "the file of an exercise" if word == "check" else "the name of an exercise"
        raise RecipeError(
            expected=expected, found="none", where=f"lab {word}", hint="List them: headstart lab exercises"
        )
    if word == "check":
        return check_file(target, on_event=on_event)
    return write_exercise(target, out=out, solution=solution)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(expected="NAME=VALUE", found=repr(text), where="--set", hint="For example --set seed=7.")
    try:
        parsed = parse_json(value)
    except NotFinite as error:  # NaN, Infinity and 1e999 are no JSON, and no words either
        raise RecipeError(
            expected="a finite number", found=repr(value), where=f"--set {name}", hint="Write a number such as 0.1."
        ) from error
    except Untrusted:
        parsed = value  # a word
    return name.strip().replace("-", "_"), tuple(parsed) if isinstance(parsed, list) else parsed
