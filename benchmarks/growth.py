"""Does headstart grow with the number of images: memory, time per image, silence, and the size of what it writes?

    [GROWTH_LOG=FILE] python benchmarks/growth.py [--images 2000 10000] [--classes 8] [--backbone embedded --size 64]

Small drawn JPEGs; `headstart train`, `audit` and `evaluate` run on them from the command line. While they run, the
memory of the process and its children is read 20 times a second, and each line of progress is timed; processor seconds
are read when a step says that it is done. The images are drawn in a temporary folder (TMPDIR), 2 kB each. Needs /proc.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from machine import hardware
from record import Line, at_most, show, write

MOST_GB, MOST_SILENCE, MOST_RATIO = 1.3, 10.0, 1.1
SIDE = 64  # px
_STEP = re.compile(r"^([a-z ]+): [\d.]+ s$")  # a detail that --verbose prints when a step is done
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass
class Watched:
    """One command: GB at its peak, processor seconds of its steps, the longest time between two lines."""

    peak: float = 0.0
    anonymous: float = 0.0  # of it, what is not a mapped file
    cpu: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    now: float = 0.0  # GB at its peak since the last step
    start: float = 0.0  # seconds until the first line: the interpreter and its imports
    silence: float = 0.0
    after: str = ""


def draw(folder: Path, count: int, classes: int) -> Path:
    """JPEGs of coarse blocks whose tint tells the class, about one in six with another's tint; no two alike."""
    rng = np.random.default_rng(0)
    tints = rng.uniform(-60, 60, (classes, 3))
    for number in range(count):
        label = number % classes
        shown = label if rng.random() < 5 / 6 else int(rng.integers(classes))
        blocks = (rng.integers(0, 256, (8, 8, 3)) * 0.7 + 40 + tints[shown]).clip(0, 255).astype(np.uint8)
        place = folder / f"class{label:04d}"
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(place / f"{rng.integers(1 << 40):010x}z.jpg", quality=80)  # no numbers in a row: no burst
    return folder


def watch(command: Sequence[str], env: dict[str, str]) -> Watched:
    """Run a command of headstart and measure it.

    Raises:
        RuntimeError: it failed; its last lines are in the message.
    """
    found, lines = Watched(), []
    whole = [sys.executable, "-m", "headstart", *command, "--verbose"]
    began = last = time.perf_counter()
    with subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        sampler = threading.Thread(target=_sample, args=(process, found), daemon=True)
        sampler.start()
        spent, before = 0.0, ""
        for line in process.stdout or ():
            now, line = time.perf_counter(), line.strip()
            lines.append(f"{now - began:8.1f} {line}")
            if not before:
                found.start = now - began
            elif now - last > found.silence:
                found.silence, found.after = now - last, before
            last, before = now, line or before
            if step := _STEP.match(line):
                total = _cpu_seconds(process.pid)
                found.steps[step[1]], spent = found.steps.get(step[1], 0.0) + total - spent, total
                found.peaks[step[1]], found.now = found.now, 0.0
        process.wait()
        sampler.join()
    if process.returncode:
        raise RuntimeError("\n".join([f"{' '.join(command)} ended with {process.returncode}", *lines[-20:]]))
    if log := os.environ.get("GROWTH_LOG"):
        with Path(log).open("a") as file:
            file.write("\n".join([" ".join(command), *lines, ""]))
    return found


def _sample(process: subprocess.Popen[str], found: Watched) -> None:
    while process.poll() is None:
        resident = anonymous = 0
        for pid in _family(process.pid):
            try:
                text = Path(f"/proc/{pid}/status").read_text()
            except OSError:  # it has just ended
                continue
            values = dict(line.split(":", 1) for line in text.splitlines() if line.startswith(("VmRSS", "RssAnon")))
            resident += int(values.get("VmRSS", "0").split()[0])
            anonymous += int(values.get("RssAnon", "0").split()[0])
        found.now = max(found.now, resident / 1e6)
        found.peak, found.anonymous = max(found.peak, resident / 1e6), max(found.anonymous, anonymous / 1e6)
        found.cpu = max(found.cpu, _cpu_seconds(process.pid))
        time.sleep(0.05)


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [one for child in listing.read_text().split() for one in _family(int(child))]
        except OSError:
            continue
    return found


def _cpu_seconds(pid: int) -> float:
    """Of a process and its children, running ones included."""
    total = 0
    for one in _family(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15] if one == pid else fields[11:13]))
    return total / _TICKS


def measure(place: Path, count: int, chosen: argparse.Namespace) -> dict[str, Watched | float]:
    """Each command on so many images, in a folder that is its own; and MB of what a run has written."""
    photos, run = draw(place / "photos", count, chosen.classes), place / "run"
    env = {**os.environ, "HEADSTART_CACHE": str(place / "cache"), "COLUMNS": "120"}
    options = ["--backbone", chosen.backbone, "--offline", *(["--size", str(chosen.size)] if chosen.size else [])]
    commands = {
        "train": ["train", str(photos), "--out", str(run), *options],
        "audit": ["audit", str(photos)],
        "evaluate": ["evaluate", str(run), str(photos)],
    }
    found: dict[str, Watched | float] = {}
    for name, command in commands.items():
        found[name] = watched = watch(command, env)
        print(f"… {count:,} {name}: {watched}", flush=True)
    for file in ("predictions.csv", "features.safetensors", "report.html"):
        found[file] = (run / file).stat().st_size / 1e6
    return found


def lines_of(found: dict[int, dict[str, Watched | float]], classes: int) -> list[Line]:
    """A table of it, with goals; time per image is compared with that of the smallest set."""
    lines, fewest = [], min(found)
    tail = "" if classes == 8 else f", {classes:,} classes"
    for count, one in found.items():
        for name, value in one.items():
            what = f"{name}, {count:,} images{tail}"
            if not isinstance(value, Watched):
                lines.append(Line("size", what, value, f"{value:.1f} MB"))
                continue
            steps = ", ".join(f"{step} {peak:.2f}" for step, peak in value.peaks.items())
            note = f"{value.anonymous:.2f} GB without mapped files; {steps}".strip("; ")
            lines.append(_line("peak", what, value.peak, f"{value.peak:.2f} GB", MOST_GB, note))
            note = f"after: {value.after[:60]}; the first line after {value.start:.1f} s"
            lines.append(_line("silence", what, value.silence, f"{value.silence:.1f} s", MOST_SILENCE, note))
            each = value.cpu / count * 1e3
            before = found[fewest][name]
            ratio = value.cpu / count / (before.cpu / fewest) if isinstance(before, Watched) else 1.0
            goal, verdict = at_most(ratio, MOST_RATIO, " times the smallest's") if count != fewest else ("", "")
            note = ", ".join(f"{step} {seconds / count * 1e3:.2f}" for step, seconds in value.steps.items())
            lines.append(Line("time", f"time: {what}", each, f"{each:.2f} CPU ms an image", goal, verdict, note))
    return lines


# one line of the table, as it is printed
def _line(name: str, what: str, value: float, shown: str, limit: float, note: str) -> Line:
    goal, verdict = at_most(value, limit)
    return Line(name, f"{name}: {what}", value, shown, goal, verdict, note)


def main() -> None:
    """Measure one size after another; each is written down before the next begins."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 10_000])
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--size", type=int, default=SIDE)
    chosen = parser.parse_args()
    found = {}
    for count in sorted(chosen.images):
        with tempfile.TemporaryDirectory(prefix="growth-") as place:
            found[count] = measure(Path(place), count, chosen)
        lines = lines_of(found, chosen.classes)
        write("growth", lines, hardware=hardware())
    show(lines)


if __name__ == "__main__":
    main()
