"""Events and results of the verbs, drawn in a terminal: results to stdout, progress and notices to stderr.

Names from outside are shown as text, never parsed as markup, with control characters escaped.
"""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.columns import Columns
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from headstart import progress
from headstart.cli.progress_display import ProgressDisplay
from headstart.cli.tables import console, plain, print_predictions, print_text, safe, tables_within
from headstart.errors import shown
from headstart.wording import percent
from headstart.workbench import events
from headstart.workbench.run import Run
from headstart.workbench.values import (
    Audit,
    Evaluation,
    EvaluationResult,
    FetchedSet,
    Finding,
    InspectionResult,
    Prediction,
)

_MARKS = {"problem": ("✗", "bold red"), "warning": ("!", "yellow"), "note": ("·", "dim")}
_SHOWN_NAMES = 3  # of one finding, and of one group; the report has more


class Terminal:
    """Draws events as they come, and the result of a command.

    Args:
        results: whether anything goes to stdout; False: it is kept for JSON.
        quiet: leave out progress and what is only planned.
        verbose: show details too: how long each step took, what was cached, where files are.
        display: that draws progress and notices; None: a new one.
    """

    def __init__(
        self,
        *,
        results: bool = True,
        quiet: bool = False,
        verbose: bool = False,
        display: ProgressDisplay | None = None,
    ) -> None:
        self._out = console(quiet=not results)
        self._display = display or ProgressDisplay(quiet=quiet, verbose=verbose)
        self._quiet = quiet

    def on_event(self, event: progress.Event) -> None:
        """Show one event."""
        if self._display.on_event(event):
            return
        if isinstance(event, events.Results):
            self._results(event)
        elif isinstance(event, events.NextSteps) and not self._quiet:
            self._next_steps(event)
        elif isinstance(event, events.FilesWritten):
            self._files(event)
        elif isinstance(event, events.DatasetSummary) and not self._quiet:
            self._dataset(event)
        elif isinstance(event, events.Plan) and not self._quiet:
            self._title("Plan")
            self._pairs(event.rows)

    @staticmethod
    def comes_last(event: progress.Event) -> bool:
        """Whether an event is to be shown behind the result of the command: where its files are."""
        return isinstance(event, events.FilesWritten)

    def _title(self, text: str) -> None:
        self._out.print()
        self._out.print(Text(text, style="bold"))

    def _indented(self, content: RenderableType, columns: int = 2) -> None:
        self._out.print(Padding(content, (0, 0, 0, columns)))

    def _pairs(self, rows: Mapping[str, str]) -> None:
        table = plain()
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in rows.items():
            table.add_row(safe(name), safe(text))
        self._indented(table)

    def _next(self, command: str) -> None:
        self._out.print()
        self._out.print(Text.assemble(("Next: ", "bold"), shown(command)), soft_wrap=True)

    def _dataset(self, event: events.DatasetSummary) -> None:
        self._title("Dataset")
        self._indented(safe(f"{event.images:,} images of {len(event.classes)} classes in {event.source}"))
        table = plain(header=True)
        table.add_column("class", overflow="fold")
        for split in event.counts:
            table.add_column(Text(split), justify="right")
        for name in event.classes:
            table.add_row(safe(name), *[f"{counts.get(name, 0):,}" for counts in event.counts.values()])
        table.add_row("total", *[f"{sum(counts.values()):,}" for counts in event.counts.values()], style="dim")
        self._indented(table)
        self._indented(safe(event.protocol))
        self._findings(event.findings)

    def _findings(self, findings: Sequence[Finding]) -> None:
        """Problems, warnings and notes, one line each with the first names."""
        if not findings:
            self._indented(Text("No problems found.", style="green"))
        for finding in findings:
            mark, style = _MARKS[finding.severity]
            self._indented(Text.assemble((f"{mark} ", style), shown(finding.message)))
            examples = [_group(finding.kind, group) for group in finding.groups] or list(map(shown, finding.names))
            if examples:
                more = f", and {len(examples) - _SHOWN_NAMES} more" if len(examples) > _SHOWN_NAMES else ""
                self._indented(Text(", ".join(examples[:_SHOWN_NAMES]) + more, style="dim"), 6)

    def _results(self, event: events.Results) -> None:
        self._title(f"Results with an {event.basis}" if event.basis else "Results")
        self._evaluation(event.evaluation)
        for sentence in event.trust:
            self._indented(safe(sentence))
        for warning in event.warnings:
            self._indented(Text.assemble(("! ", "yellow"), shown(warning)))
        self._indented(safe(f"{event.chosen}; the test images were used once.", style="dim"))

    def _next_steps(self, event: events.NextSteps) -> None:
        """One paragraph, and its commands."""
        if not event.steps:
            return
        self._title("What to improve")
        self._indented(safe(" ".join(step.text for step in event.steps)))
        for command in dict.fromkeys(step.command for step in event.steps if step.command):
            self._out.print(safe(f"    {command}", style="dim"), soft_wrap=True)  # a padding would cut it off

    def _evaluation(self, evaluation: Evaluation) -> None:
        table = plain()
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(style="dim", overflow="fold")
        for number, (name, value, about) in enumerate(evaluation.rows()):
            table.add_row(Text(name), Text(value), Text(about), style="bold green" if number == 0 else "")
        self._indented(table)

    def _files(self, event: events.FilesWritten) -> None:
        self._title(f"Files written to {shown(str(event.folder))}/")
        self._indented(Columns([safe(name) for name in event.files], padding=(0, 2)))  # no name is broken at a hyphen
        if event.next_command:
            self._next(event.next_command)

    @functools.singledispatchmethod
    def show(self, result: object) -> None:
        """Show the result of a command: as a table where there is one, else in its own words."""
        self.text(str(result))

    def text(self, text: str) -> None:
        """Print lines that may hold names from outside; in a terminal sentences are wrapped between words."""
        print_text(text, self._out)

    @show.register(Run)
    @show.register(type(None))
    def _(self, result: object) -> None:
        """Its events have shown it."""

    @show.register(list)
    @show.register(tuple)
    def _(self, results: Sequence[object]) -> None:
        if all(isinstance(one, Prediction) for one in results):
            print_predictions(results, self._out)
            return
        for number, one in enumerate(results):
            if number:
                self._out.print()
            self.show(one)

    @show.register
    def _(self, result: InspectionResult) -> None:
        if not self._out.is_terminal:  # in a file each row stays on its line
            self.text(str(result))
            return
        self.text("\n".join([result.title, *result.interpretation]))
        for found in result.tables:
            self._title(found.title)
            tables = tables_within(found.columns, found.formatted_rows, self._out.width - 2)
            for number, table in enumerate(tables):
                if number:
                    self._out.print()
                self._indented(table)

    @show.register
    def _(self, result: EvaluationResult) -> None:
        self._title("Results")
        if result.problem:
            self._indented(Text.assemble(("✗ ", "bold red"), shown(result.problem)))
        self._evaluation(result.evaluation)
        for mistake in result.evaluation.mistakes[:5]:
            nearest = result.nearest.get(mistake.name)
            text = f"{mistake.name}: {mistake.true} predicted as {mistake.predicted} ({percent(mistake.probability)})"
            text += f", most similar training image {nearest}" if nearest else ""
            self._indented(Text.assemble(("✗ ", "red"), shown(text)))
        for note in result.notes:
            self._indented(safe(note, style="dim"))

    @show.register
    def _(self, audit: Audit) -> None:
        self._title(f"Audit of {audit.images:,} images")
        self._findings(audit.findings)

    @show.register
    def _(self, result: FetchedSet) -> None:
        record, images = result.fetched.record, result.images
        folder = shown(str(result.folder))
        there = f"{folder}/ exists already, fetched on {record.date}; nothing was downloaded"
        self._title(f"Fetched into {folder}/" if result.fetched.is_new else there)
        rows = {"data set": record.source, "licence": record.licence or "not stated", "page": record.home}
        for number, origin in enumerate(record.origins, 1):
            rows[f"file {number}"] = f"{origin.url}  {origin.size_bytes / 1e6:,.1f} MB  {origin.sha256[:16]}".rstrip()
        if images:
            names = ", ".join(images.classes[:10])
            rows["images"] = f"{len(images.samples):,} of {len(images.classes)} classes: {names}"
            splits = Counter(sample.split or "no split" for sample in images.samples)
            rows["splits"] = ", ".join(f"{split} {count:,}" for split, count in splits.items())
        self._pairs({name: text for name, text in rows.items() if text})
        for note in () if result.fetched.is_new else result.fetched.notes:  # those of a download were events
            self._indented(Text.assemble(("! ", "yellow"), shown(note)))
        if images:
            self._next(f"headstart train {shlex.quote(str(result.folder))}")
        else:
            self._indented(Text.assemble(("! ", "yellow"), shown(result.unread)))


def _group(kind: str, group: Sequence[str]) -> str:
    """The first images of a group; only those of duplicates are the same picture."""
    sign = " with " if kind == "group-across-splits" else " = "
    more = f" and {len(group) - _SHOWN_NAMES} more" if len(group) > _SHOWN_NAMES else ""
    return sign.join(map(shown, group[:_SHOWN_NAMES])) + more
