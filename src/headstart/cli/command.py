"""How a command is made: its options from Recipe's fields, its errors shown, its result as JSON."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperGroup

from headstart.errors import HeadstartError, RecipeError, shown
from headstart.recipe import Recipe

_Command = TypeVar("_Command", bound=Callable[..., Any])

_PANELS = {
    "From images to a classifier": ("train", "predict", "evaluate", "compare", "audit"),
    "Train further": ("resume", "continue", "recalibrate", "selftest"),
    "Look inside": ("inspect", "explain", "doctor", "lab"),
    "Data, networks, what is kept": ("fetch", "backbones", "cache", "pretrain", "demo"),
}
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}


class _InOrder(TyperGroup):
    """Commands as the panels list them, whatever file they come from."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = list(_PANEL_OF)
        return sorted(super().list_commands(ctx), key=order.index)


app = typer.Typer(
    name="headstart",
    cls=_InOrder,
    help="From a folder of images to a classifier you can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_STOPPED = "Stopped. Nothing half-written is left; what was computed or fetched so far is kept."

Json = Annotated[bool, typer.Option("--json", help="Print the result alone, as JSON, to stdout.")]


def command(*names: str, knobs: bool = False, name: str | None = None) -> Callable[[_Command], _Command]:
    """Register a command whose errors are shown, not raised; with `knobs`, it has options for Recipe's fields.

    Args:
        names: of the fields; none: all of them. name: of the command; None: the function's.
    """

    def decorate(function: _Command) -> _Command:
        @functools.wraps(function)
        def guarded(**values: Any) -> None:
            try:
                function(**values)
            except HeadstartError as error:
                _show_error(error)
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                print(f"\n{_STOPPED}", file=sys.stderr)
                raise typer.Exit(130) from None

        hints = get_type_hints(function, include_extras=True)
        written = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        own = [p.replace(annotation=hints[p.name]) for p in written]
        specs = [spec for spec in dataclasses.fields(Recipe) if knobs and (not names or spec.name in names)]
        guarded.__signature__ = inspect.Signature([*own, *map(_option, specs)])  # type: ignore[attr-defined]
        guarded.__annotations__ = {p.name: p.annotation for p in guarded.__signature__.parameters.values()}  # type: ignore[attr-defined]
        own_name = name or function.__name__
        app.command(own_name, rich_help_panel=_PANEL_OF[own_name])(guarded)
        return function

    return decorate


def _option(spec: dataclasses.Field[Any]) -> inspect.Parameter:
    kinds: dict[str, Any] = {"str": str, "str | None": str | None, "int": int, "float": float, "bool": bool}
    flag = "--" + spec.name.replace("_", "-")
    if spec.default is True:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    choices = spec.metadata["choices"]
    about = spec.metadata["about"] + (f": {' or '.join(choices)}" if choices else "")
    option = typer.Option(flag, help=about, rich_help_panel="Recipe", show_default=spec.default is not False)
    annotation = Annotated.__class_getitem__((kinds[str(spec.type)], option))  # type: ignore[attr-defined]
    return inspect.Parameter(spec.name, inspect.Parameter.KEYWORD_ONLY, default=spec.default, annotation=annotation)


def print_json(value: object) -> None:
    """The result of a command, alone, to stdout."""
    json.dump(value, sys.stdout, indent=1, allow_nan=False, default=str)
    sys.stdout.write("\n")


def _show_error(error: HeadstartError) -> None:
    kind = type(error).__name__.removesuffix("Error").lower()
    print(f"{'option' if isinstance(error, RecipeError) else kind} error", file=sys.stderr)
    for name, text in error.lines():
        print(f"  {name + ':':10}{shown(text)}", file=sys.stderr)
