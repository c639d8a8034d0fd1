"""Code from outside headstart, called so that it fails as an error and never ends the process: plug-ins, mostly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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
