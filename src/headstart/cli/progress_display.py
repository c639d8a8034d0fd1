"""Progress, signs of life and notices of a command, drawn on stderr as they come; needs no torch."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from headstart import progress
from headstart.cli.tables import safe

_LOG_SECONDS = 5.0  # of one step between two lines of a log; with the signs of life no ten seconds are silent


class ProgressDisplay:
    """Draws the events that every step has: how far it is, that it goes on, what to read.

    Args:
        quiet: leave out progress and signs of life. verbose: show details too.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._err = Console(highlight=False, stderr=True)
        self._quiet, self._verbose = quiet, verbose
        self._bar: Progress | None = None
        self._step = ""
        self._tenth, self._next_line = -1, 0.0  # for a log

    def on_event(self, event: progress.Event) -> bool:
        """Show one event; False: it is of another kind, for somebody else to show."""
        if isinstance(event, progress.Progress):
            if not self._quiet:
                self._progress(event)
        elif isinstance(event, progress.Working):
            if not self._quiet:
                self._working(event)
        elif isinstance(event, progress.Detail):
            if self._verbose:
                self.stop()
                self._err.print(safe(event.text, style="dim"), soft_wrap=True)
        elif isinstance(event, progress.Notice):
            self.stop()
            self._err.print(safe(event.text, style="yellow"))
        else:
            self.stop()
            return False
        return True

    def _progress(self, event: progress.Progress) -> None:
        line = progress.progress_line(event).rstrip()
        is_new = self._step != event.step
        self._step = event.step
        if not self._err.is_terminal:  # for a log: a line at each tenth, and where that takes long more of them
            tenth = event.done * 10 // max(event.total, 1)
            if is_new or tenth != self._tenth or event.seconds >= self._next_line:
                print(line, file=sys.stderr, flush=True)
                self._next_line = event.seconds + _LOG_SECONDS
            self._tenth = tenth
            return
        if self._bar is None or is_new:
            self.stop()
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), console=self._err, transient=True)
            self._bar.add_task("", total=1)
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, description=escape(line), completed=event.done, total=event.total or None)
        if event.done >= event.total:
            self.stop()
            self._err.print(Text(line, style="dim"))

    def _working(self, event: progress.Working) -> None:
        """A step that reports no progress."""
        if not self._err.is_terminal:
            print(event.text, file=sys.stderr, flush=True)
            return
        if self._bar is None:
            self._bar = Progress(TextColumn("{task.description}"), console=self._err, transient=True)
            self._bar.add_task("", total=None)
            self._bar.start()
            self._step = ""
        elif self._step:
            return  # the bar of a step that reports its progress stays
        self._bar.update(self._bar.task_ids[0], description=escape(event.text))

    def stop(self) -> None:
        """Take the bar away, before other text is printed."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
