"""How the time outside reading, features and solving grows with the number of images: drawn images, all work cached.

Every verb runs twice: the first call reads images and computes features, the second finds both in the cache, so what it
takes is bookkeeping, solving and measuring. Run: python benchmarks/scaling.py [--images 2000 8000 32000]
"""

from __future__ import annotations

import argparse
import os
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


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure(count: int, place: Path) -> dict[str, float]:
    """Seconds of each verb with everything cached, and what of training is not solving the head."""
    photos = draw(place / f"photos{count}", count)
    options: dict[str, Any] = {
        "backbone": "embedded",
        "size": 32,
        "layers": "pooled",
        "inside": False,
        "group_by": "none",
    }
    hs.train(photos, out=place / f"first{count}", **options, on_event=None)
    audited = seconds(lambda: hs.audit(photos, group_by="none", on_event=None))
    runs: list[hs.Run] = []
    trained = seconds(lambda: runs.append(hs.train(photos, out=place / f"second{count}", **options, on_event=None)))
    timings = runs[0].record["timings"]
    evaluated = seconds(lambda: hs.evaluate(runs[0].folder, photos, group_by="none", on_event=None))
    return {
        "audit": audited,
        "train": trained - timings["head"],
        "of it evaluation": timings["evaluation"],
        "evaluate": evaluated,
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
            goal, verdict = at_most(found[count][verb], GOAL, " s") if count == 16000 else ("", "")
            value = found[count][verb]
            per = f"{value / count * 1e3:.3f} ms per image"
            lines.append(
                Line(f"{verb} {count}", f"{verb}, {count:,} images", value, f"{value:.2f} s", goal, verdict, per)
            )
    show(lines)
    write("scaling", lines, **hardware())


if __name__ == "__main__":
    main()
