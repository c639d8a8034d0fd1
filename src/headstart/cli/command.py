"""How a command is made: options from Recipe's fields, progress, the result in words or as JSON, errors, exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.core import TyperGroup

from headstart.cli.cluster_options import WORKERS
from headstart.cli.progress_display import ProgressDisplay
from headstart.errors import (
    HeadstartError,
    PackageError,
    RecipeError,
    RunError,
    first_line,
    missing_package,
    near,
    shown,
)
from headstart.files import os_error
from headstart.plain import to_plain
from headstart.progress import Event, Notice
from headstart.public_api import failed_import
from headstart.recipe import Recipe
from headstart.recipe_file import read_options

_Command = TypeVar("_Command", bound=Callable[..., Any])

_PANELS = {
    "From images to a classifier": (
        *("train", "predict", "evaluate", "embed", "compare", "audit", "review", "advise", "show", "studio"),
    ),
    "Train further": ("resume", "continue", "add-class", "forget", "recalibrate", "selftest"),
    "Use elsewhere": ("export", "card", "track", "push", "pull", "check", "serve"),
    "Inspect": ("inspect", "explain", "doctor", "lab"),
    "Data sets, backbones, cache": ("fetch", "backbones", "engines", "cache", "pretrain", "demo", "help"),
}
# options by what they are about, those that most people need first; all others are Advanced
_GROUPS = {
    "Common": (
        ("backbone", "weights", "strategy", "time", "group_by", "test_share", "balance", "seed", "offline", "inside")
    ),
    "Data": ("classes", "background", "max_pixels", "max_bad_share", "verify", "review"),
    "Head": ("head", "layers", "size", "sizes"),
    "Fine-tuning": (
        *("unfreeze", "epochs", "lr", "schedule", "mix", "label_smoothing", "average", "flip_tta", "batch_norm"),
        *("flips", "augment", "views", "activations", "step_precision", "checkpoint_every"),
    ),
    "Speed": ("processes", "batch_size", "workers", "device", "engine", "precision", "cache_limit_gb"),
}
_LIBRARY = re.compile(r"\.(so|dylib|dll|pyd)\b")  # in what the system says of a library that it does not load
_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}


class _InOrder(TyperGroup):
    """Commands in the order of the panels, whatever file they come from."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = list(_PANEL_OF)
        return sorted(super().list_commands(ctx), key=order.index)

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """As a command: Ctrl-C ends it while its words are read, too."""
        with _errors_shown({}):
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:
        """As make_context, for the words of the command itself."""
        with _errors_shown({}):
            return super().invoke(ctx)


def complete_from(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What a shell offers for a word that was begun: the names that go on as it does."""
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def _backbone_names() -> list[str]:
    from headstart.workbench.backbones import list_backbones  # when it is asked for: --help stays light

    return ["auto", "fast", "balanced", "accurate", *(str(entry["name"]) for entry in list_backbones())]


_COMPLETED = {"backbone": complete_from(_backbone_names)}  # names; of other options their choices

app = typer.Typer(
    name="headstart",
    cls=_InOrder,
    help="From a folder of images to a classifier you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command_group(name: str, about: str, *, default: str) -> typer.Typer:
    """A command that has commands; words that name none of them go to the default one: `advise photos/`."""

    class WithDefault(TyperGroup):
        """Puts the name of the default command before words that begin with no command."""

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
                args = [default, *args]
            return super().parse_args(ctx, args)

    group = typer.Typer(
        cls=WithDefault,
        help=about,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.add_typer(group, name=name, rich_help_panel=_PANEL_OF[name])
    return group


_NEEDED = {"audit": ("shortcuts", ("backbone", "weights")), "show": ("augmented", ("backbone", "flips"))}
"""Command → a flag, and options that count with it alone: those of a run.json are no wish for it."""

_JSON = Annotated[bool, typer.Option("--json", help="Print the result alone, as JSON, to stdout.")]
_CONFIG = Annotated[
    Path | None,
    typer.Option(help="Options from a TOML file or from the run.json of a run; those given here win."),
]
_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show only results, warnings and errors.")]
_VERBOSE = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also show how long each step takes, what was cached, and where.")
]


def command(
    *,
    name: str | None = None,
    show: Callable[[Any, Mapping[str, Any]], None] | None = None,
    failed: Callable[[Any], bool] = lambda result: False,
    group: typer.Typer | None = None,
) -> Callable[[_Command], _Command]:
    """Make a command of a function: its result is shown, or printed as JSON with `--json`.

    Its parameters become arguments and options; with `**options: Unpack[...]` also the fields of Recipe that the
    TypedDict names. If it takes `on_event`, the terminal draws the events. A HeadstartError ends the command with exit
    code 2, Ctrl-C with 130, SIGTERM with 143.

    Args:
        name: of the command; None: the function's.
        show: shows the result; it also gets the command's arguments. None: `Terminal.show`, which needs torch.
        failed: whether the command, although done, ends with exit code 1.
        group: that it is a command of, such as `advise`; None: of headstart itself.
    """

    def decorate(function: _Command) -> _Command:
        parameters = _parameters(function)
        takes_events = "quiet" in parameters
        flags = _flags(parameters.values())

        @functools.wraps(function)
        def run(*, as_json: bool, quiet: bool = False, verbose: bool = False, **values: Any) -> None:
            with _errors_shown(flags):
                if quiet and verbose:
                    raise RecipeError(
                        expected="--quiet or --verbose",
                        found="both",
                        where="--verbose",
                        hint="Leave one of the two out.",
                    )
                values = _with_config(values)  # which takes the context away
                drawn = _Events(as_json=as_json, quiet=quiet, verbose=verbose)
                try:
                    result = _result(function, values, {"on_event": drawn} if takes_events else {}, as_json=as_json)
                    if as_json:
                        print_json(result)
                    elif show is not None:
                        show(result, values)
                    else:
                        _terminal().show(result)
                finally:
                    drawn.finish()
            if failed(result):
                raise typer.Exit(1)

        run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
        run.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
        own_name = name or function.__name__
        if group is None:
            app.command(own_name, rich_help_panel=_PANEL_OF[own_name])(run)
        else:
            group.command(own_name)(run)
        return function

    return decorate


def _result(function: Callable[..., Any], given: Mapping[str, Any], events: Mapping[str, Any], *, as_json: bool) -> Any:
    """With --json stdout holds the JSON alone: what a network, a plug-in or a package prints goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        return function(**given, **events)


def _with_config(values: dict[str, Any]) -> dict[str, Any]:
    """The command's values, with those of `--config` in place of options that were not given."""
    path, context = values.pop("config", None), values.pop("context", None)
    if path is None or context is None:
        return values
    given = {
        name: value
        for name, value in read_options(path).items()
        if name not in values or context.get_parameter_source(name).name == "DEFAULT"
    }
    flag, names = _NEEDED.get(str(context.info_name), ("", ()))
    if flag and not values[flag] and path.suffix == ".json":
        given = {name: value for name, value in given.items() if name not in names}
    unknown = [name for name in given if name not in values]
    if unknown and path.suffix != ".json":  # a run.json holds all options of a training; others need some of them
        raise RecipeError(
            expected=f"options of headstart {context.info_name}",
            found=", ".join(unknown),
            where=path,
            hint=near(unknown[0], list(values)),
        )
    return values | {name: value for name, value in given.items() if name in values}


def print_json(result: object) -> None:
    """Print the result of a command, alone, to stdout."""
    text = json.dumps(to_plain(result), indent=1, allow_nan=False)  # whole before its first byte is written
    sys.stdout.write(f"{text}\n")


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """A command's parameters by name: the function's own, fields of Recipe, --quiet, --verbose and --json."""
    hints = get_type_hints(function, include_extras=True)
    found: list[inspect.Parameter] = []
    of_workers: list[inspect.Parameter] = []  # for few people: behind the common options
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if parameter.kind is parameter.VAR_KEYWORD:
            (options,) = get_args(hint)  # of Unpack
            taken = [field for field in dataclasses.fields(Recipe) if field.name in options.__annotations__]
            found += [_option(field) for field in sorted(taken, key=_rank)]
            found.append(_parameter("config", None, _CONFIG))
            found.append(_parameter("context", inspect.Parameter.empty, typer.Context))
        elif parameter.name != "on_event":
            panels = [getattr(about, "rich_help_panel", None) for about in getattr(hint, "__metadata__", ())]
            (of_workers if WORKERS in panels else found).append(parameter.replace(annotation=hint))
    found += of_workers
    if "on_event" in hints:
        found += [_parameter("quiet", False, _QUIET), _parameter("verbose", False, _VERBOSE)]
    return {parameter.name: parameter for parameter in (*found, _parameter("as_json", False, _JSON))}


def _flags(parameters: Iterable[inspect.Parameter]) -> dict[str, str]:
    """What a verb may call a parameter → what the user types: `class` and `class_name` are `--class`."""
    flags: dict[str, str] = {}
    for parameter in parameters:
        for about in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(about, typer.models.OptionInfo):
                # inside Annotated typer keeps the first name where a default would be
                names = [name for name in (about.default, *(about.param_decls or ())) if isinstance(name, str)]
                flag = next(
                    (name.partition("/")[0] for name in names if name.startswith("--")),
                    f"--{parameter.name.replace('_', '-')}",
                )
                flags |= {parameter.name: flag, flag[2:]: flag, flag[2:].replace("-", "_"): flag}
            elif isinstance(about, typer.models.ArgumentInfo):
                flags[parameter.name] = parameter.name.upper()
    return flags


def _rank(field: dataclasses.Field[Any]) -> tuple[int, int]:
    """Groups in their order, and the common options in theirs; the others in that of the Recipe."""
    group = _GROUP_OF.get(field.name, "")
    names = _GROUPS.get(group, ())
    return list(_GROUPS).index(group) if group else len(_GROUPS), names.index(field.name) if group == "Common" else 0


def _option(field: dataclasses.Field[Any]) -> inspect.Parameter:
    kinds: dict[str, Any] = {"str": str, "str | None": str | None, "int": int, "float": float, "bool": bool}
    kinds["tuple[str, ...]"] = str | None  # names with commas
    flag = field.name.replace("_", "-")
    names = f"--{flag}/--no-{flag}" if field.default is True else f"--{flag}"
    choices = field.metadata["choices"]  # for the help only: Recipe checks the value, and knows those of plug-ins
    about = field.metadata["about"] + (f": {', '.join(choices)}" if choices else "")
    about = about.replace("[", r"\[")  # typer reads markup in it, and drops what stands in brackets
    group = _GROUP_OF.get(field.name, "Advanced")
    option = typer.Option(
        names,
        help=about,
        rich_help_panel=group,
        show_default=field.default is not False,
        autocompletion=_COMPLETED.get(field.name) or (complete_from(lambda: choices) if choices else None),
    )
    annotation = Annotated.__class_getitem__((kinds[str(field.type)], option))  # type: ignore[attr-defined]
    return _parameter(field.name, None if field.default == () else field.default, annotation)


def _parameter(name: str, default: object, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


class _Events:
    """Draws the events of a command; the whole terminal, which needs torch, from the first that only it can draw."""

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool) -> None:
        self._display = ProgressDisplay(quiet=quiet, verbose=verbose)
        self._options = {"results": not as_json, "quiet": quiet}
        self._terminal: Any = None
        self._last: list[Event] = []

    def __call__(self, event: Event) -> None:
        if self._last and isinstance(event, Notice):  # what is said behind the files stays behind them
            self._last.append(event)
            return
        if self._display.on_event(event):
            return
        if self._terminal is None:
            from headstart.cli.terminal import Terminal

            self._terminal = Terminal(**self._options, display=self._display)
        if self._terminal.comes_last(event):
            self._last.append(event)
        else:
            self._terminal.on_event(event)

    def finish(self) -> None:
        """Draw what comes behind the result: where the files are, and what to do next."""
        for event in self._last:
            if not self._display.on_event(event):
                self._terminal.on_event(event)
        self._last.clear()


def _terminal() -> Any:
    from headstart.cli.terminal import Terminal  # brings torch with it, so that --help does not

    return Terminal()


def show_error(error: HeadstartError) -> None:
    """Print a user's mistake to stderr: its kind, then what was expected, what was found, where, and what is next.

    Of a package that is missing one line says all.
    """
    if isinstance(error, PackageError):
        print(error, file=sys.stderr)
        return
    kind = "option" if isinstance(error, RecipeError) else type(error).__name__.removesuffix("Error").lower()
    print(f"{kind} error", file=sys.stderr)
    for name, text in error.lines():
        print(_hanging(f"  {name + ':':10}", shown(text)), file=sys.stderr)


def _hanging(head: str, text: str) -> str:
    """A line for a log; for a terminal lines broken between words, but a command stays whole, to be copied."""
    if not sys.stderr.isatty() or "headstart " in text:
        return head + text
    width = shutil.get_terminal_size().columns
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,  # paths
        break_on_hyphens=False,  # options
    )
    return "\n".join(lines) or head


def show_stopped() -> None:
    """Print to stderr that Ctrl-C, or another signal, ended the command."""
    text = "Stopped. No unfinished files are left; what was computed or downloaded so far is kept."
    print(f"\n{text}", file=sys.stderr)


@contextlib.contextmanager
def _errors_shown(flags: Mapping[str, str]) -> Iterator[None]:
    try:
        yield
    except HeadstartError as error:
        error.where = flags.get(error.where, error.where)
        show_error(error)
        raise typer.Exit(2) from None
    except ModuleNotFoundError as error:  # the verb's own import
        mistake = missing_package(error)
        if mistake is None:
            raise
        show_error(mistake)
        raise typer.Exit(2) from None
    except (ImportError, MemoryError) as error:
        refused = _too_little_memory(error)
        if refused is None:
            raise
        show_error(refused)
        raise typer.Exit(2) from None
    except OSError as error:  # of a command without a verb
        show_error(os_error(error))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        show_stopped()
        raise typer.Exit(130) from None
    except Exception as error:
        package = failed_import(error)
        if package is None:
            raise
        show_error(package)
        raise typer.Exit(2) from None


def _too_little_memory(error: ImportError | MemoryError) -> RunError | None:
    """What lies behind a library that cannot be loaded, or memory that is not given; None for a mistake of ours."""
    if isinstance(error, ImportError) and not _LIBRARY.search(str(error)):
        return None
    return RunError(
        expected="enough memory, and libraries that can be loaded",
        found=first_line(error),
        where="this process",
        hint="Raise its limit (ulimit -v), close other programs, or install the package of the library again.",
    )
