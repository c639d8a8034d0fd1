"""What leaves a public function when it fails: one of our errors, for a wrong argument or for what the system refuses.

One thing is checked on the way in: an empty text in the place of a path, which would be the folder one is in. Else a
call costs what it cost, and whatever works keeps working. Only when a call fails are its arguments compared with the
annotations: the first that does not fit is the mistake, and is named. An error that no argument explains is a bug of
ours and keeps its traceback.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import os
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from headstart.errors import HeadstartError, RecipeError, RunError, kind_and_line, missing_package, shown
from headstart.files import os_error
from headstart.usual_torch import NUMPY, usual_settings

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)

_SHOWN = 60  # characters of a wrong value
_LOOKED_AT = 20  # items of a sequence that are compared with its annotation
_OF_PATHS = ("source", "images", "classifier", "run", "first", "second", "folder", "file", "path", "model", "out")
_COMPUTING = ("headstart.workbench.", "headstart.classifier.")
_OWN_NETWORKS = ("doctor", "inspect")  # take those of the user, which may rely on another type or device
_OWN = ("headstart", "__main__", "None")  # modules whose errors are not those of a package
_VARIABLES = {"torch": ("TORCH", "PYTORCH"), "matplotlib": ("MPL",)}  # package → how the names of its variables begin
_UNIONS = (typing.Union, types.UnionType)
_BROAD: dict[Any, tuple[type, ...]] = {
    int: (numbers.Integral,),
    float: (numbers.Real,),
    str: (str,),
    bool: (bool,),
}  # numpy's numbers are numbers


def public_api(function: _Function) -> _Function:
    """A decorator for a public function or method: what leaves it is a HeadstartError, a bug of ours, or a wrong call.

    Raises:
        RecipeError: an argument is not of the annotated type.
        RunError: the system refused a file.
        PackageError: torch, or a package that comes with it, is not installed.
    """

    refuse_empty = empty_text_refused(function)
    usual = under_usual_torch(function) if function.__module__.startswith(_COMPUTING) else function

    @functools.wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        refuse_empty(arguments, named)
        try:
            return usual(*arguments, **named)
        except HeadstartError:
            raise
        except Exception as error:
            mistake = as_headstart_error(error, function, arguments, named)
            if mistake is None:
                raise
            raise mistake from error

    guarded.is_public_api = True  # type: ignore[attr-defined]
    return guarded  # type: ignore[return-value]


def under_usual_torch(function: _Function) -> _Function:
    """A decorator for a function that computes with networks of headstart; see `usual_settings`."""
    own = function.__name__ in _OWN_NETWORKS

    @functools.wraps(function)
    def usual(*arguments: Any, **named: Any) -> Any:
        if _is_usual():
            return function(*arguments, **named)
        with usual_settings(own_network=own):
            return function(*arguments, **named)

    return usual  # type: ignore[return-value]


def _is_usual() -> bool:
    """Whether torch is not imported, or computes as it does when nothing is set."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):
        return True
    is_default = torch.get_default_dtype() is torch.float32 and torch.get_default_device().type == "cpu"
    is_graded = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    numpy = sys.modules.get("numpy")
    is_plain = numpy is None or numpy.geterr() == NUMPY
    return (
        is_default
        and is_graded
        and is_plain
        and not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"))
    )


def public_methods(*names: str) -> Callable[[_Class], _Class]:
    """A decorator for a public class: `public_api` for these methods and class methods, and for `__init__`."""

    def decorate(cls: _Class) -> _Class:
        for name in ("__init__", *names):
            method = inspect.getattr_static(cls, name)  # perhaps inherited
            if isinstance(method, classmethod):
                setattr(cls, name, classmethod(public_api(method.__func__)))
            else:
                setattr(cls, name, public_api(method))
        return cls

    return decorate


def empty_text_refused(function: Callable[..., Any]) -> Callable[[Sequence[Any], Mapping[str, Any]], None]:
    """A check of the arguments of a public function that name files or folders.

    Raises (when called with positional and named arguments):
        RecipeError: one of them is an empty text, or a list that holds one: it would be the folder one is in.
    """
    parameters = list(inspect.signature(function).parameters)
    positions = [(place, name) for place, name in enumerate(parameters) if name in _OF_PATHS]

    def refuse(arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
        for place, name in positions:
            value = arguments[place] if place < len(arguments) else named.get(name)
            if _is_empty(value) or (isinstance(value, (list, tuple)) and any(map(_is_empty, value))):
                raise RecipeError(
                    expected=f"a file or a folder as {name}",
                    found="an empty text",
                    where=f"headstart.{function.__qualname__}",
                    hint="Name it; . is the folder you are in.",
                )

    return refuse


def _is_empty(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def as_headstart_error(
    error: Exception, function: Callable[..., Any], arguments: Sequence[Any], named: Mapping[str, Any]
) -> HeadstartError | None:  # four: an error, and the call that raised it
    """The mistake behind a foreign error of a call; None where the call itself is wrong, or the bug is ours."""
    if isinstance(error, (MemoryError, ModuleNotFoundError)):
        return missing_package(error)
    if not isinstance(error, OSError) and (refused := failed_import(error)) is not None:
        return refused
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*arguments, **named)
    except TypeError:  # an unknown keyword, or one too few: Python's own words are the best
        return None
    mistake = _wrong_argument(function, signature, bound.arguments)
    if mistake is not None or not isinstance(error, OSError):
        return mistake
    return os_error(error)


def failed_import(error: Exception) -> RunError | None:
    """The error of a package that failed while it was imported, mostly for a variable that it does not take."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    modules = (str(frame.f_globals.get("__name__")) for frame in frames if frame.f_code.co_name == "<module>")
    packages = [name for module in modules if (name := module.partition(".")[0]) not in _OWN]
    if not packages:
        return None
    prefixes = _VARIABLES.get(packages[0], (packages[0].upper(),))
    are_set = sorted(name for name in os.environ if name.startswith(prefixes))
    which = f" (set: {', '.join(are_set)})" if are_set else ""
    return RunError(
        expected=f"the package {packages[0]} to be importable",
        found=shown(kind_and_line(error)),
        where=f"import {packages[0]}",
        hint=f"Check the environment variables that it reads{which}, or install it again.",
    )


def _wrong_argument(
    function: Callable[..., Any], signature: inspect.Signature, values: Mapping[str, Any]
) -> RecipeError | None:
    hints = _hints(function)
    name = function.__qualname__.removesuffix(".__init__")
    for parameter, value in values.items():
        hint, kind = hints.get(parameter, Any), signature.parameters[parameter].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            continue
        given = value if kind is inspect.Parameter.VAR_POSITIONAL else (value,)
        for one in given:
            if not fits(one, hint):
                return RecipeError(
                    expected=f"{in_words(hint)} as {parameter}",
                    found=f"{_short(one)} ({type(one).__name__})",
                    where=f"headstart.{name}",
                    hint="help(headstart) lists the functions and what they take.",
                )
            if isinstance(one, (str, os.PathLike)) and "\0" in os.fspath(one):
                return RecipeError(
                    expected=f"a text without NUL as {parameter}",
                    found=_short(os.fspath(one)),
                    where=f"headstart.{name}",
                    hint="Check where the text comes from.",
                )
    return None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):  # a name that only type checkers know
        return {}


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as can be said without calling it; in doubt it is."""
    if hint is Any or hint is object or isinstance(hint, (TypeVar, str)):
        return True
    if hint is None or hint is type(None):
        return value is None
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return any(fits(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if hint in _BROAD:
        return isinstance(value, _BROAD[hint]) and not (isinstance(value, bool) and hint is not bool)
    if origin is not None:
        return _fits_generic(value, origin, inner)
    if isinstance(hint, type):
        try:
            return isinstance(value, hint)
        except TypeError:  # a Protocol that cannot be asked
            return True
    return True


def _fits_generic(value: object, origin: Any, inner: tuple[Any, ...]) -> bool:
    if not isinstance(origin, type):
        return True
    if issubclass(origin, Callable):  # type: ignore[arg-type]
        return callable(value)
    if origin is type or not isinstance(value, origin):
        return isinstance(value, origin)
    if isinstance(value, Mapping) and len(inner) == 2:
        some = list(value.items())[:_LOOKED_AT]
        return all(fits(key, inner[0]) and fits(one, inner[1]) for key, one in some)
    if origin is tuple and isinstance(value, tuple) and inner and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(fits, value, inner))
    if isinstance(value, (Sequence, AbstractSet)) and inner:
        return all(fits(one, inner[0]) for one in list(value)[:_LOOKED_AT])
    return True


def in_words(hint: Any) -> str:
    """An annotation as people say it: `str or Path`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return " or ".join(in_words(one) for one in inner)
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if hint is None or hint is type(None):
        return "None"
    if isinstance(origin, type) and issubclass(origin, Callable):  # type: ignore[arg-type]
        return "a function"
    name = getattr(origin or hint, "__name__", str(hint))
    if isinstance(origin, type) and issubclass(origin, Iterable) and inner and name != "ndarray":
        return f"{name} of {', '.join(in_words(one) for one in inner if one is not Ellipsis)}"
    return name


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a foreign object may even fail at that
        text = "an object"
    text = shown(" ".join(text.split()))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
