"""How the time outside reading, features and solving grows with the number of images: drawn images, all work cached.

Every verb runs twice: the first call reads images and computes features, the second finds both in the cache. Of its
processor time, that of the work itself is taken off: searching duplicates, features (those of the foreign pictures that
familiarity is tried on, too), solving heads (those of the search for shortcuts, too), nearest neighbours, familiarity.
What is left is bookkeeping; it should grow with the images and no faster.
Run: python benchmarks/scaling.py [--images 2000 8000 32000]
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import headstart as hs
from machine import hardware
from record import Line, at_most, show, write

CLASSES = 8
SIDE = 32  # px; small, since nothing here measures reading or the network
GOAL = 2.0  # seconds at 16,000 images
WORK = (  # modules and functions
    ("headstart.data.duplicates.groups", "find_duplicates"),
    ("headstart.features.extract", "extract_features"),
    ("headstart.heads.linear_probe", "fit_linear_probe"),
    ("headstart.heads.knn", "nearest"),
    ("headstart.classifier.familiarity", "fit_familiarity"),
    ("headstart.classifier.trust_evaluation", "leave_classes_out"),
    ("headstart.curation.shortcuts", "find_shortcuts"),  # solves ridge 200 times and more
    ("headstart.workbench.fit_trust", "_foreign_features"),  # draws pictures and runs the network on them
)


def draw(folder: Path, count: int) -> Path:
    """So many different images: random blocks of colour, with a tint that tells the class."""
    rng = np.random.default_rng(0)
    tints = rng.uniform(-40, 40, (CLASSES, 3))
    for i in range(count):
        blocks = rng.uniform(0, 255, (8, 8, 3)) + tints[i % CLASSES]
        pixels = np.kron(blocks, np.ones((SIDE // 8, SIDE // 8, 1))).clip(0, 255).astype(np.uint8)
        path = folder / f"class{i % CLASSES}" / f"{rng.integers(10**12):012d}.png"  # no two named as frames of a burst
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=1)
    return folder


class Clock:
    """Counts the processor seconds of the functions of `WORK`, wherever they were imported to."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0
        for module, name in WORK:
            original = getattr(importlib.import_module(module), name)
            timed = self.timed(original)
            for place in [place for key, place in sys.modules.items() if key.startswith("headstart")]:
                for attribute, value in list(vars(place).items()):
                    if value is original:
                        setattr(place, attribute, timed)

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted where it is not called by another that is counted."""

        @functools.wraps(function)
        def run(*given: Any, **named: Any) -> Any:
            began, self.depth = time.process_time(), self.depth + 1
            try:
                return function(*given, **named)
            finally:
                self.depth -= 1
                self.seconds += 0 if self.depth else time.process_time() - began

        return run

    def outside(self, call: Callable[[], object]) -> tuple[float, float]:
        """Processor seconds of a call, and those outside the functions of `WORK`."""
        began, self.seconds = time.process_time(), 0.0
        call()
        total = time.process_time() - began
        return total, total - self.seconds


def measure(count: int, place: Path) -> dict[str, tuple[float, float]]:
    """Of each verb with everything cached: processor seconds, and those outside the work itself."""
    photos = draw(place / f"photos{count}", count)
    options: dict[str, Any] = {
        "backbone": "embedded",
        "size": 32,
        "layers": "pooled",
        "inside": False,
        "group_by": "none",
        "on_event": None,
    }
    run = hs.train(photos, out=place / f"first{count}", **options)
    hs.evaluate(run.folder, photos, group_by="none", on_event=None)  # all modules are imported now
    clock = Clock()
    reading = {"group_by": "none", "on_event": None}
    return {
        "audit": clock.outside(lambda: hs.audit(photos, **reading)),
        "train": clock.outside(lambda: hs.train(photos, out=place / f"second{count}", **options)),
        "evaluate": clock.outside(lambda: hs.evaluate(run.folder, photos, **reading)),
    }


def main() -> None:
    """Measure, print a table, write a results file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 8000, 16000, 32000])
    counts = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        os.environ["HEADSTART_CACHE"] = f"{name}/cache"
        found = {count: measure(count, Path(name)) for count in counts}
    lines = []
    for verb in found[counts[0]]:
        for count in counts:
            total, rest = found[count][verb]
            goal, verdict = at_most(rest, GOAL, " s") if count == 16000 else ("", "")
            what = f"{verb}, {count:,} images"
            note = f"{rest / count * 1e3:.3f} ms per image; {total:.1f} s with the work"
            lines.append(Line(f"{verb} {count}", what, rest, f"{rest:.2f} s", goal, verdict, note))
    show(lines)
    write("scaling", lines, **hardware())


if __name__ == "__main__":
    main()
