"""Registries: how backbones, heads, checks, analyses, rules and engines are added from outside headstart.

A script registers with a decorator (`@headstart.register_head("name")`). An installed package offers an entry point of
the group `headstart.heads` (… `.backbones`, `.checks`, `.analyses`, `.rules`, `.engines`); it is imported when it is
first used, so that listing names imports nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from headstart.errors import RecipeError, near
from headstart.public_api import public_api

_Value = TypeVar("_Value")


@contextmanager
def foreign_code() -> Iterator[None]:
    """`sys.exit` inside is an error like any other; Ctrl-C stays what it is.

    Raises:
        RuntimeError: the code asked to leave Python, which is not for a plug-in to decide.
    """
    try:
        yield
    except SystemExit as left:
        raise RuntimeError(f"it called sys.exit({left.code!r})") from left


class Registry(Mapping[str, _Value], Generic[_Value]):
    """Named values of one kind: headstart's own first, then those of installed packages and of the running script.

    Args:
        kind: what is registered, such as `head`. plural: the entry points are those of the group `headstart.<plural>`.
        own: headstart's own values as `module:name`, imported when they are used.
    """

    def __init__(self, kind: str, plural: str, own: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.group = f"headstart.{plural}"
        self._own = {name: path.partition(":")[0] for name, path in (own or {}).items()}
        self._values: dict[str, _Value] = {}
        self._imports: dict[str, Callable[[], Any]] = {name: _importer(path) for name, path in (own or {}).items()}
        self._names = dict.fromkeys(self._imports)  # in the order in which they were met: own ones first
        self._owners: dict[str, str] = {}  # name → the package whose entry point it is
        self._hidden: dict[str, list[str]] = {}  # name → packages that offer it too, and are not asked
        self._knows_plugins = False

    @public_api
    def register(self, name: str) -> Callable[[_Value], _Value]:
        """A decorator that adds a value under a name and returns it unchanged.

        Raises:
            RecipeError: the name is taken or is no text, or the value cannot be called.
        """
        self._check_name(name)

        def decorate(value: _Value) -> _Value:
            self.add(name, value)
            return value

        return decorate

    def add(self, name: str, value: _Value) -> None:
        """Add a value under a name; a function or class that is defined again, as in a notebook cell, replaces itself.

        Raises:
            RecipeError: the name is taken by another value or is no text, or the value cannot be called.
        """
        self._check_name(name)
        if not callable(value) and not _is_ours(value):
            raise RecipeError(
                expected=f"a function as the {self.kind} {name!r}",
                found=type(value).__name__,
                where=f"register_{self.kind}",
                hint="Put the decorator above a function.",
            )
        if self._is_taken(name, value):
            raise RecipeError(
                expected=f"a name that no other {self.kind} has",
                found=f"{name!r}, which is registered already",
                where=f"register_{self.kind}",
                hint="Choose another name.",
            )
        self._values[name] = value
        self._names.setdefault(name)

    def added(self, name: str) -> _Value | None:
        """The value that was added under a name, or None; imports nothing."""
        return self._values.get(name)

    def is_own(self, name: str) -> bool:
        """Whether a name is one of headstart's own."""
        return name in self._own

    def owner(self, name: str) -> str:
        """Whose the value of a name is, for errors: its package, else the script that registered it."""
        return self._owners.get(name, "the script that registers it")

    def remove(self, name: str) -> None:
        """Take away what was added under a name; what headstart or an installed package offers stays."""
        self._values.pop(name, None)
        if name not in self._imports:
            self._names.pop(name, None)

    def find(self, name: str, *, where: str = "") -> _Value:
        """The value of a name.

        Raises:
            RecipeError: nothing has that name (the near ones are in the hint), or its package cannot be imported.
        """
        if name not in self:
            raise RecipeError(
                expected=f"a known {self.kind}", found=repr(name), where=where or self.kind, hint=near(name, self)
            )
        return self[name]

    def __getitem__(self, name: str) -> _Value:
        self._find_plugins()
        for package in self._hidden.pop(name, ()):
            used = "headstart's own" if name in self._own else f"that of {self.owner(name)}"
            text = f"{package} offers a {self.kind} {name!r}, too: {used} is used. Rename one, or remove the package."
            warnings.warn(text, stacklevel=3)
        if name not in self._values:
            value = self._imports[name]()  # may register the name by its decorator
            self._values.setdefault(name, value)
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        self._find_plugins()
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        self._find_plugins()
        return iter(self._names)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _is_taken(self, name: str, value: _Value) -> bool:
        if name in self._own:
            return getattr(value, "__module__", "") != self._own[name]
        return name in self._values and not _same_definition(self._values[name], value)

    def _find_plugins(self) -> None:
        """Note the entry points of installed packages; nothing is imported."""
        if not self._knows_plugins:
            self._knows_plugins = True
            for point in importlib.metadata.entry_points(group=self.group):
                package = _package(point)
                if point.name in self._imports and self._owners.get(point.name) != package:
                    self._hidden.setdefault(point.name, []).append(package)
                    continue
                self._imports.setdefault(point.name, lambda point=point: self._load(point))  # type: ignore[misc]
                self._owners.setdefault(point.name, package)
                self._names.setdefault(point.name)

    def _load(self, point: importlib.metadata.EntryPoint) -> Any:
        try:
            with foreign_code():
                value = point.load()
        except Exception as error:  # foreign code: whatever it raises, the user learns whose it is
            raise self._not_loaded(point, f"{type(error).__name__}: {error}") from error
        if not callable(value) and not _is_ours(value):
            raise self._not_loaded(point, f"{type(value).__name__}, which cannot be called")
        return value

    def _not_loaded(self, point: importlib.metadata.EntryPoint, found: str) -> RecipeError:
        return RecipeError(
            expected=f"the {self.kind} of the entry point {point.name!r}",
            found=found,
            where=point.value,
            hint=f"Update or remove {_package(point)}.",
        )

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise RecipeError(
                expected=f"a name for the {self.kind}, a text",
                found=getattr(name, "__name__", None) or repr(name),
                where=f"register_{self.kind}",
                hint=f'Write @register_{self.kind}("name") above the function.',
            )


def _package(point: importlib.metadata.EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist else f"the package of {point.value}"


def _is_ours(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "headstart"


def _same_definition(before: object, value: object) -> bool:
    if before is value:
        return True
    own, other = ((getattr(one, "__module__", ""), getattr(one, "__qualname__", "")) for one in (before, value))
    return own == other and all(own)


def _importer(path: str) -> Callable[[], Any]:
    module, _, name = path.partition(":")
    return lambda: getattr(importlib.import_module(module), name)


HEADS: Registry[Any] = Registry(
    "head",
    "heads",
    {
        "ridge": "headstart.heads.ridge:RIDGE",
        "logistic": "headstart.heads.logistic:LOGISTIC",
        "kernel": "headstart.heads.kernel:KERNEL",
        "auto": "headstart.heads.kernel:AUTO",
    },
)
"""Solvers of `--head NAME`: functions (features N×D, labels N, groups N) → (weight D×C, bias C), or a `PathSolver`."""

register_head = HEADS.register
"""Decorator: make a function (features, labels, groups) → (weight, bias) available as `--head NAME`."""

ENGINES: Registry[Any] = Registry(
    "engine",
    "engines",
    {
        "auto": "headstart.engines.choose:choose_engine",
        "eager": "headstart.engines.forward:eager_forward",
        "folded": "headstart.engines.forward:folded_forward",
        "compiled": "headstart.engines.forward:compiled_forward",
        "onnxruntime": "headstart.engines.onnxruntime_engine:onnx_forward",
    },
)
"""Ways to run a forward pass, of `--engine NAME`; see `headstart.engines.choose`."""

register_engine = ENGINES.register
"""Decorator: make a function (backbone) → forward(pixels N×3×S×S) → features N×D available as `--engine NAME`."""
