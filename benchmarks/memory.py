"""Does memory stay flat? The peak of a solve with 100,000 rows, and of `train` on 10,000 images against 1,000.

    python benchmarks/memory.py [--images 10000]

Each is done in a process of its own, whose largest resident set is read when it ends; needs no real data.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import headstart as hs
from bytes_to_head import made_features, solve
from headstart.features.features_file import create_file
from headstart.features.matrix import Features
from machine import hardware
from record import Line, Spent, at_most, peak_mb, show, spending, write

MOST_GB = 3.0
FLAT_MB = (
    150.0  # decoded batches in flight and Python's lists differ from run to run; 9,000 images more are 4 GB decoded
)
FEW = 1000


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="of the large set")
    parser.add_argument("--child", choices=("solve", "train"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        run_child(chosen.child, chosen.images)
        return
    lines = [solve_line(), train_line(chosen.images)]
    show(lines)
    write("memory", lines, hardware=hardware())


def solve_line() -> Line:
    """Peak of a solve whose features are 400 MB on disk and would be 800 MB in float64."""
    found = child("solve")
    gigabytes = found["peak_mb"] / 1000
    goal, verdict = at_most(gigabytes, MOST_GB, " GB")
    note = f"{found['wall']:.0f} s, {found['cpu']:.0f} CPU s; {found['before_mb']:.0f} MB before it"
    what = "solve 100,000 × 1,000, 100 classes: peak of the process"
    return Line("memory", what, gigabytes, f"{gigabytes:.2f} GB", goal, verdict, note)


def train_line(count: int) -> Line:
    """How much more a train on many images holds than one on few."""
    few, many = child("train", FEW), child("train", count)
    more = many["peak_mb"] - few["peak_mb"]
    goal, verdict = at_most(more, FLAT_MB, " MB")
    what = f"train on {count:,} images, backbone random: peak minus that with {FEW:,} images"
    note = f"{few['peak_mb']:.0f} and {many['peak_mb']:.0f} MB; {few['wall']:.0f} and {many['wall']:.0f} s"
    return Line("memory", what, more, f"{more:+.0f} MB", goal, verdict, note)


def child(task: str, count: int = 0) -> dict[str, float]:
    """What one task measured in a process of its own."""
    command = [sys.executable, __file__, "--child", task, "--images", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"… {task} {count or ''}: {found}", flush=True)
    return found


def run_child(task: str, count: int) -> None:
    """Do one task and print what it took as the last line."""
    with tempfile.TemporaryDirectory() as folder:
        if task == "solve":
            before, spent = child_solve(Path(folder))
        else:
            before, spent = child_train(Path(folder), count)
    print(json.dumps({"wall": spent.wall, "cpu": spent.cpu, "peak_mb": peak_mb(), "before_mb": before}))


def child_solve(work: Path) -> tuple[float, Spent]:
    """100,000 × 1,000 features on the disk, 100 classes."""
    n, width, classes, step = 100_000, 1000, 100, 10_000
    before = peak_mb()
    names, contents = tuple(map(str, range(n))), tuple(f"{i:064x}" for i in range(n))
    matrix = create_file(work / "large.safetensors", names, contents, slices={"last": (0, width)})
    made, some = made_features(step, width, classes)
    rng = np.random.default_rng(1)
    for begin in range(0, n, step):  # every row its own
        matrix[begin : begin + step] = made + rng.normal(size=made.shape).astype(np.float32)
    labels = np.tile(some, n // step)
    with spending() as spent:
        solve(Features(matrix, {"last": (0, width)}, names, contents), labels, {"pooled": ("last",)})
    return before, spent


def child_train(work: Path, count: int) -> tuple[float, Spent]:
    """A whole train on small made-up pictures with the `random` row."""
    draw_pictures(work / "pictures", count)
    os.environ["HEADSTART_CACHE"] = str(work / "cache")
    before = peak_mb()
    with spending() as spent:
        hs.train(  # type: ignore[operator]  # the front door resolves its names when used
            work / "pictures", out=work / "run", on_event=lambda event: None, backbone="random", offline=True
        )
    return before, spent


def draw_pictures(folder: Path, count: int) -> None:
    """JPEGs of 64×64 pixels in two classes, no two alike, reddish and not."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / ("warm" if number % 2 else "cold")
        place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        coarse[..., 0] = coarse[..., 0] // 2 + (60 if number % 2 else 0)
        picture = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(place / f"{rng.integers(1 << 40):010x}z.jpg", quality=80)


if __name__ == "__main__":
    main()
