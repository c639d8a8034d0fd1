"""The call that a job was started by, as a line of a shell or of Python, for the record of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextvars import ContextVar
from pathlib import Path

from headstart.recipe import Recipe

_SHELL: ContextVar[str] = ContextVar("shell line", default="")
_LONGEST = 60  # characters of one argument: a longer one is data, not an option


@contextlib.contextmanager
def started_in_shell(arguments: Sequence[str]) -> Iterator[None]:
    """Within the block the call is this command line, whatever verbs it calls."""
    token = _SHELL.set(shlex.join(["headstart", *arguments]))
    try:
        yield
    finally:
        _SHELL.reset(token)


def line(verb: str, *arguments: object, options: Mapping[str, object]) -> str:
    """The command line, shell-quoted; where there is none, the call of a verb in Python.

    Args:
        arguments: of the verb. options: by keyword; those that are None are left out.
    """
    given = [f"{name}={_literal(value)}" for name, value in options.items() if value is not None]
    return _SHELL.get() or f"headstart.{verb}({', '.join([*map(_literal, arguments), *given])})"


def _literal(value: object) -> str:
    """As Python reads it; data and objects by their kind, in angle brackets."""
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, Recipe):
        changed = {name: one for name, one in value.to_dict().items() if one != getattr(Recipe(), name)}
        return f"Recipe({', '.join(f'{name}={_literal(one)}' for name, one in changed.items())})"
    plain = isinstance(value, (str, int, float)) or (isinstance(value, (list, tuple)) and len(value) <= _LONGEST)
    text = repr(value) if plain and not dataclasses.is_dataclass(value) else ""
    if text and (isinstance(value, str) or len(text) <= _LONGEST):
        return text
    size = f" of {len(value):,}" if isinstance(value, Sized) else ""
    return f"<{type(value).__name__}{size}>"
