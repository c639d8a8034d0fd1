"""Standard output and error that cannot end a command, and signals that end it as Ctrl-C does.

A reader that goes away, such as `| head`, costs the rest of the output and not the run; a full disk behind `> FILE` is
reported when the work is done; a character that the terminal's encoding lacks is escaped.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

from headstart.errors import HeadstartError
from headstart.files import os_error

_GONE = (errno.EPIPE, errno.EBADF, errno.ECONNRESET, errno.ESHUTDOWN)  # nobody reads any longer: no mistake


class TerminatedError(KeyboardInterrupt):
    """The system asks the process to end: handled wherever Ctrl-C is."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class _SteadyWriter(io.RawIOBase):
    """A file descriptor whose first error is kept; from then on everything is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]  # a buffer, says io
        if self.error is None:
            try:
                return os.write(self._descriptor, view)
            except OSError as error:
                self.error = error
        return view.nbytes

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor


class StandardStreams:
    """`sys.stdout` and `sys.stderr` made steady until `close`."""

    def __init__(self) -> None:
        self._given = (sys.stdout, sys.stderr)
        _occupy_closed_descriptors()
        self._output, sys.stdout = _steady(sys.stdout)
        _, sys.stderr = _steady(sys.stderr)

    @property
    def lost_output(self) -> HeadstartError | None:
        """Why output that somebody wanted could not be written; None where it was, or where nobody reads it."""
        sys.stdout.flush()
        error = None if self._output is None else self._output.error
        if error is None or error.errno in _GONE:
            return None
        return os_error(error, "stdout", expected="an output that can be written")

    def close(self) -> None:
        """Put back what was there."""
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = self._given


def _steady(stream: TextIO | None) -> tuple[_SteadyWriter | None, TextIO]:
    if stream is None:  # the shell closed it: `>&-`
        return None, open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  # lives as long as the command
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):  # a notebook's or a test's
        return None, stream
    if os.name == "nt" and os.isatty(descriptor):  # Windows' console has no bytes
        return None, stream
    stream.flush()
    raw = _SteadyWriter(descriptor)
    text = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding or "utf-8",
        errors="backslashreplace",
        line_buffering=stream is sys.stderr or raw.isatty(),
    )
    return raw, text


def _occupy_closed_descriptors() -> None:
    """Open the null device where 0, 1 or 2 is closed, so that no file of ours gets that number and foreign output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest free number


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[list[int]]:
    """Treat SIGTERM, SIGHUP of a closed terminal and SIGXCPU of used-up time as Ctrl-C; yields those that came.

    Who gets an exception asks what came: compiled code that a signal interrupts may raise one of its own, such as
    matplotlib's "ImportError: initialization failed".
    """
    came: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        came.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        for one in given:  # what is removed now is not disturbed by a second one; a second Ctrl-C is somebody's wish
            if one != signal.SIGINT:
                signal.signal(one, signal.SIG_IGN)
        raise TerminatedError(number)

    wanted = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU") if hasattr(signal, name)]
    in_main = threading.current_thread() is threading.main_thread()  # only there Python allows it
    python_does = (signal.SIG_DFL, signal.default_int_handler)  # a signal that is ignored, as by nohup, stays so
    given = {one: before for one in wanted if in_main and (before := signal.getsignal(one)) in python_does}
    for one in given:
        signal.signal(one, stop)
    try:
        yield came
    finally:
        for one, before in given.items():
            signal.signal(one, before)
