"""What every benchmark writes down: measured lines with their goals, the conditions, CPU seconds, a results file."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from headstart import runtime

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Line:
    """One measured line of a table.

    Args:
        name: what `--only` matches.
        what: in words.
        value: as measured, in the unit that `shown` prints.
        shown: the value with its interval or unit, for people.
        goal: what was to be reached, in words; empty: nothing.
        verdict: met or missed, and by how much; empty without a goal.
        note: what else must be known to read it.
    """

    name: str
    what: str
    value: float
    shown: str
    goal: str = ""
    verdict: str = ""
    note: str = ""


def at_most(value: float, limit: float, unit: str = "") -> tuple[str, str]:
    """Goal and verdict of a value that should not be above a limit."""
    word = "met" if value <= limit else "missed"
    return f"at most {limit:g}{unit}", f"{word} by {abs(limit - value):.3g}{unit}"


def at_least(value: float, limit: float, unit: str = "") -> tuple[str, str]:
    """Goal and verdict of a value that should not be below a limit."""
    word = "met" if value >= limit else "missed"
    return f"at least {limit:g}{unit}", f"{word} by {abs(value - limit):.3g}{unit}"


def show(lines: Sequence[Line]) -> None:
    """Print lines as a table that Markdown takes too."""
    rows = [("what", "measured", "goal", "verdict", "note")]
    rows += [(line.what, line.shown, line.goal, line.verdict, line.note) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("| " + " | ".join([*cells, row[4]]) + " |", flush=True)
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|---|")


def conditions() -> dict[str, object]:
    """Where and when something was measured, with nothing that names the machine or its folders."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes")
    return {"when": now, "cores": runtime.cores(), "load_average_1min": load, "versions": runtime.versions()}


def write(name: str, lines: Sequence[Line], **more: object) -> Path:
    """Write `results/<date>-<name>.json`; a run of the same day is replaced, lines that were not run again are kept."""
    path = _file_of_today(name)
    RESULTS.mkdir(exist_ok=True)
    fresh = {line.what: asdict(line) for line in lines}
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"lines": []}
    kept = [line for line in before["lines"] if line["what"] not in fresh]
    rest = {key: value for key, value in before.items() if key not in ("conditions", "lines")}
    values = {"conditions": conditions(), "lines": [*kept, *fresh.values()], **rest, **more}
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: benchmarks/results/{path.name}", file=sys.stderr)
    return path


def lines_of_today(name: str) -> list[dict[str, object]]:
    """The lines that today's results file has already, for a benchmark that goes on where it ended."""
    path = _file_of_today(name)
    return json.loads(path.read_text(encoding="utf-8"))["lines"] if path.exists() else []


def _file_of_today(name: str) -> Path:
    return RESULTS / f"{datetime.date.today().isoformat()}-{name}.json"


@dataclass
class Spent:
    """Seconds by the clock, and of processors: this process and its finished children, user and system together."""

    wall: float = 0.0
    cpu: float = 0.0


@contextlib.contextmanager
def spending() -> Iterator[Spent]:
    """Seconds that the body of a `with` takes; filled in when it ends."""
    spent, wall, cpu = Spent(), time.perf_counter(), cpu_seconds()
    try:
        yield spent
    finally:
        spent.wall, spent.cpu = time.perf_counter() - wall, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Processor seconds of this process and its finished children so far."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    """The most memory this process has held so far, MB; memory-mapped pages in use count."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def test_data() -> Path:
    """Folder of real images and weights, from HEADSTART_TEST_DATA; says so and ends where there is none."""
    named = os.environ.get("HEADSTART_TEST_DATA")
    if not named or not Path(named).is_dir():
        print("skipped: set HEADSTART_TEST_DATA to the folder with the real images and weights")
        sys.exit(0)
    return Path(named)
