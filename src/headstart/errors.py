"""Everything that can go wrong by a user's hand, as one family.

HeadstartError
├── DataError          folders, tables, archives, images, labels
├── BackboneError      networks, weights, stages
├── DownloadError      a file that the web does not give; its users say it again as their own kind
├── ClassifierError    the saved classifier file
├── TrainingError      the loop: its model, loaders, schedulers, diagnostics and checkpoints
├── RecipeError        options and their values
├── RunError           the folder of a run
└── PackageError       a package is not installed, torch or another one that comes with it

Every error says what was expected, what came, where, and what to do next. A face catches the family in one place and
shows those four lines; anything else is our bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping


class HeadstartError(Exception):
    """A mistake that the user can fix; `str()` explains it in one or two sentences."""

    def __init__(self, *, expected: str, found: str, where: object = "", hint: str = "") -> None:
        self.expected = expected
        self.found = found
        self.where = str(where)
        self.hint = hint
        place = f" ({self.where})" if self.where else ""
        super().__init__(f"Expected {expected}, found {found}{place}. {hint}".rstrip())

    def __reduce__(self) -> tuple[Callable[..., HeadstartError], tuple[object, ...]]:
        return _rebuilt, (type(self), self.args, self.__dict__)  # it crosses from worker processes as it is

    def lines(self) -> tuple[tuple[str, str], ...]:
        """The four parts with their names, empty ones left out: what a face prints."""
        parts = (("expected", self.expected), ("found", self.found), ("where", self.where), ("next", self.hint))
        return tuple((name, text) for name, text in parts if text)


def _rebuilt(kind: type[HeadstartError], args: tuple[object, ...], state: Mapping[str, object]) -> HeadstartError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class DataError(HeadstartError):
    """The images, their folders, tables or archives are not as they must be."""


class BackboneError(HeadstartError):
    """A network, its weights or its stages cannot be had as asked."""


class DownloadError(HeadstartError):
    """A file cannot be had from the web, or is not the one that was promised."""


class ClassifierError(HeadstartError):
    """A classifier file cannot be read, or does not fit what is asked of it."""


class TrainingError(HeadstartError):
    """The training loop lacks something, or is given what does not fit it."""


class RecipeError(HeadstartError):
    """An option is unknown or its value is out of range."""


class RunError(HeadstartError):
    """The folder of a run is missing, unfinished or cannot be written."""


class PackageError(HeadstartError, ImportError):
    """A package that headstart needs for this is not installed; in one line that says what installs it."""

    def __init__(self, package: str) -> None:
        super().__init__(expected=f"the package {package}", found="none", hint=_INSTALL)
        self.args = (f"headstart needs {package} for this: {_INSTALL}",)

    def __str__(self) -> str:
        return str(self.args[0])  # ImportError would say what it was made with


_INSTALL = 'pip install "headstart[standard]"'
_WITH_TORCH = ("torch", "torchvision", "safetensors", "scipy", "captum", "matplotlib", "jinja2")  # the extra `torch`


def missing_package(error: BaseException) -> PackageError | None:
    """The mistake behind an import that failed because a package of the extra `torch` is missing; None: another one."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    package = error.name.partition(".")[0]
    return PackageError(package) if package in _WITH_TORCH else None


def near(name: str, known: Iterable[str]) -> str:
    """A hint that names the known words closest to a mistyped one, or all of them when none is close."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(names)}."


def first_line(error: BaseException) -> str:
    """What an error of another package says, for the words of ours: its first line, or its kind where it is silent."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def kind_and_line(error: BaseException) -> str:
    """The kind of another package's error and its first line, 300 characters at most; the kind where it is silent."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"[:300]


def shown(text: str) -> str:
    """A name from outside, safe to print: control characters escaped; any letters and no-break spaces kept."""
    return "".join(c if c.isprintable() or c == "\u00a0" else c.encode("unicode_escape").decode("ascii") for c in text)
