"""What the verbs tell, drawn in a terminal: results to stdout, progress and notices to stderr.

Names from outside are shown as text, never parsed as markup, with control characters escaped.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from headstart import progress
from headstart.cli.tables import plain, safe
from headstart.errors import shown
from headstart.workbench import events
from headstart.workbench.values import Audit, Comparison, Evaluation, EvaluationResult, FetchedSet, Finding, Prediction

_MARKS = {"problem": ("✗", "bold red"), "warning": ("!", "yellow"), "note": ("·", "dim")}
_SHOWN_NAMES = 3  # of one finding, and of one group; the report has more
_WIDE = 100  # columns when the output is no terminal


class Terminal:
    """Draws events as they come.

    Args:
        quiet: show progress and notices only, because stdout is for JSON.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._out = Console(highlight=False, quiet=quiet, width=None if sys.stdout.isatty() else _WIDE)
        self._err = Console(highlight=False, stderr=True)
        self._bar: Progress | None = None
        self._step = ""
        self._tenth = -1

    def on_event(self, event: progress.Event) -> None:
        """Show one event."""
        if isinstance(event, progress.Progress):
            self._progress(event)
            return
        self._stop_bar()
        if isinstance(event, events.DatasetSummary):
            self._found(event)
        elif isinstance(event, progress.Notice):
            self._err.print(Text(shown(event.text), style="yellow"))
        elif isinstance(event, events.Plan):
            self._title("Plan")
            self._pairs(event.rows)
        elif isinstance(event, events.Results):
            self._verdict(event)
        elif isinstance(event, events.FilesWritten):
            self._written(event)

    def _progress(self, event: progress.Progress) -> None:
        if not self._err.is_terminal:
            self._progress_in_lines(event)
            return
        if self._bar is None or self._step != event.step:
            self._stop_bar()
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), console=self._err, transient=True)
            self._bar.add_task("", total=1)
            self._bar.start()
            self._step = event.step
        told = progress.progress_line(event)
        self._bar.update(
            self._bar.task_ids[0], description=escape(told), completed=event.done, total=event.total or None
        )
        if event.done >= event.total:
            self._stop_bar()
            self._err.print(Text(told, style="dim"))

    def _progress_in_lines(self, event: progress.Progress) -> None:
        """For a log: a line at each tenth."""
        tenth = event.done * 10 // max(event.total, 1)
        if event.step != self._step or tenth != self._tenth:
            print(progress.progress_line(event).rstrip(), file=sys.stderr, flush=True)
        self._step, self._tenth = event.step, tenth

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _title(self, text: str) -> None:
        self._out.print()
        self._out.print(Text(text, style="bold"))

    def _pairs(self, rows: Mapping[str, str]) -> None:
        table = plain()
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in rows.items():
            table.add_row(safe(name), safe(text))
        self._out.print(Padding(table, (0, 0, 0, 2)))

    def _found(self, event: events.DatasetSummary) -> None:
        self._title(f"Found {event.images:,} images of {len(event.classes)} classes in {shown(event.source)}")
        table = plain(header=True)
        table.add_column("class", overflow="fold")
        for part in event.counts:
            table.add_column(Text(part), justify="right")
        for name in event.classes:
            table.add_row(safe(name), *[f"{counts.get(name, 0):,}" for counts in event.counts.values()])
        table.add_row("together", *[f"{sum(counts.values()):,}" for counts in event.counts.values()], style="dim")
        self._out.print(Padding(table, (0, 0, 0, 2)))
        self._out.print(Padding(Text(event.protocol), (0, 0, 0, 2)))
        self.findings(event.findings)

    def findings(self, findings: Sequence[Finding]) -> None:
        """Problems, warnings and notes, one line each with the first names."""
        if not findings:
            self._out.print(Padding(Text("No problems found.", style="green"), (0, 0, 0, 2)))
        for finding in findings:
            mark, style = _MARKS[finding.severity]
            self._out.print(Padding(Text.assemble((f"{mark} ", style), shown(finding.message)), (0, 0, 0, 2)))
            examples = [_together(finding.kind, group) for group in finding.groups] or list(map(shown, finding.names))
            if examples:
                more = f", and {len(examples) - _SHOWN_NAMES} more" if len(examples) > _SHOWN_NAMES else ""
                told = Text(", ".join(examples[:_SHOWN_NAMES]) + more, style="dim")
                self._out.print(Padding(told, (0, 0, 0, 6)))

    def _verdict(self, event: events.Results) -> None:
        self._title("Verdict")
        self._evaluation(event.evaluation)
        for warning in event.warnings:
            self._out.print(Padding(Text.assemble(("! ", "yellow"), shown(warning)), (0, 0, 0, 2)))
        chosen = f"{event.chosen}; the test images were looked at once."
        self._out.print(Padding(Text(shown(chosen), style="dim"), (0, 0, 0, 2)))

    def _evaluation(self, evaluation: Evaluation) -> None:
        table = plain()
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(style="dim", overflow="fold")
        for place, (name, value, about) in enumerate(evaluation.rows()):
            table.add_row(Text(name), Text(value), Text(about), style="bold green" if place == 0 else "")
        self._out.print(Padding(table, (0, 0, 0, 2)))

    def _written(self, event: events.FilesWritten) -> None:
        self._title(f"Written to {shown(str(event.folder))}/")
        self._out.print(Padding(Text(shown("  ".join(event.files))), (0, 0, 0, 2)))
        if event.next_command:
            self._out.print()
            self._out.print(Text.assemble(("Next: ", "bold"), shown(event.next_command)), soft_wrap=True)

    def text(self, text: str) -> None:
        """A result in its own words, which may hold names from outside."""
        self._stop_bar()
        for line in text.splitlines():
            self._out.print(Text(shown(line)), soft_wrap=True)

    def predictions(self, predictions: Sequence[Prediction]) -> None:
        """Path, class, probability and the next two classes."""
        self._stop_bar()
        table = plain(header=True)
        for name, justify in (("image", "left"), ("class", "left"), ("probability", "right"), ("then", "left")):
            table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for prediction in predictions:
            if prediction.error:
                table.add_row(safe(prediction.name), Text("unreadable", style="red"), "", safe(prediction.error))
                continue
            rest = ", ".join(f"{shown(label)} {share:.1%}" for label, share in prediction.top[1:])
            table.add_row(
                safe(prediction.name), safe(prediction.label or ""), f"{prediction.probability:.1%}", Text(rest)
            )
        # in a file or a pipe every image stays on its line
        console = self._out if self._out.is_terminal else Console(highlight=False, width=10_000)
        console.print(table)

    def measured(self, measured: EvaluationResult) -> None:
        """An evaluation on other images, its most confident mistakes, and what could not be said."""
        self._stop_bar()
        self._title("Measured")
        self._evaluation(measured.evaluation)
        for mistake in measured.evaluation.mistakes[:5]:
            alike = measured.nearest.get(mistake.name)
            told = f"{mistake.name}: {mistake.true} taken for {mistake.predicted} ({mistake.probability:.1%})"
            told += f", most like {alike}" if alike else ""
            self._out.print(Padding(Text.assemble(("✗ ", "red"), shown(told)), (0, 0, 0, 2)))
        for note in measured.notes:
            self._out.print(Padding(Text(shown(note), style="dim"), (0, 0, 0, 2)))

    def comparison(self, comparison: Comparison, first: Path, second: Path) -> None:
        """The verdict on two runs."""
        self._out.print(Text(shown(f"A is {first}, B is {second}"), style="dim"))
        self._out.print(Text(str(comparison)))

    def audit(self, audit: Audit) -> None:
        """Everything that was found in a set of images."""
        self._stop_bar()
        self._title(f"Looked at {audit.images:,} images")
        self.findings(audit.findings)

    def fetched(self, fetched: FetchedSet) -> None:
        """Where a data set lies, what is in it, where it is from, and the command that comes next."""
        self._stop_bar()
        record, seen = fetched.fetched.record, fetched.images
        folder = shown(str(fetched.folder))
        there = f"{folder}/ is there already, fetched on {record.date}; nothing was done"
        self._title(f"Fetched into {folder}/" if fetched.fetched.is_new else there)
        rows = {"set": record.source, "licence": record.licence or "not stated", "page": record.home}
        for number, origin in enumerate(record.origins, 1):
            rows[f"file {number}"] = f"{origin.url}  {origin.size_bytes / 1e6:,.1f} MB  {origin.sha256[:16]}".rstrip()
        if seen:
            rows["images"] = f"{len(seen.samples):,} of {len(seen.classes)} classes: {', '.join(seen.classes[:10])}"
            parts = Counter(sample.part or "in no part" for sample in seen.samples)
            rows["parts"] = ", ".join(f"{part} {count:,}" for part, count in parts.items())
        self._pairs({name: text for name, text in rows.items() if text})
        if seen:
            command = f"headstart train {shlex.quote(str(fetched.folder))}"
            self._out.print(Text.assemble(("Next: ", "bold"), shown(command)), soft_wrap=True)
        else:
            self._out.print(Padding(Text.assemble(("! ", "yellow"), shown(fetched.unread)), (0, 0, 0, 2)))


def _together(kind: str, group: Sequence[str]) -> str:
    """The first images of a group; those of a crossing group belong together, but are not the same picture."""
    sign = " with " if kind == "crossing-group" else " = "
    more = f" and {len(group) - _SHOWN_NAMES} more" if len(group) > _SHOWN_NAMES else ""
    return sign.join(map(shown, group[:_SHOWN_NAMES])) + more
