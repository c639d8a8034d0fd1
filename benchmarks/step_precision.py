"""Does a network fine-tuned in bfloat16 answer as well as in float32, and how much faster is it trained?

    HEADSTART_TEST_DATA=… python benchmarks/step_precision.py [--seeds 3] [--epochs 3] [--cache FOLDER]

Development sets, resnet18, all stages from the solved head; the two runs of a pair differ in `step_precision` only. The
test images of all seeds are paired; times are CPU seconds of a step, in turns.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from finetune import Bench
from headstart.evaluation.paired import mcnemar
from headstart.workbench.run import Run
from machine import hardware
from record import Line, at_least, show, test_data, write

SETS = ("blood_cells", "plant_seedlings", "solar_cells")
FORMATS = ("float32", "bfloat16")
LEAST_GAIN = 2.0
LEAST_P = 0.05  # of the paired difference, for each set


def main() -> None:
    """Train the pairs, print and write the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=None, help="kept between calls; a new one if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        os.environ["HEADSTART_CACHE"] = str(options.cache or Path(work) / "cache")
        lines = list(compare(Bench(test_data(), Path(work)), options.seeds, options.epochs))
    show(lines)
    write("step_precision", lines, hardware=hardware(), threads=torch.get_num_threads(), epochs=options.epochs)


def compare(bench: Bench, seeds: int, epochs: int) -> Iterator[Line]:
    """A line for each set, and one for the time of a pass."""
    ratios: list[float] = []
    for source in SETS:
        hits: dict[str, list[np.ndarray]] = {name: [] for name in FORMATS}
        for seed in range(seeds):
            pair = {
                name: bench.train(
                    source,
                    "resnet18",
                    "resnet18_imagenet",
                    "probe-then-full",
                    seed=seed,
                    epochs=epochs,
                    force=True,
                    step_precision=name,
                )
                for name in FORMATS
            }
            for name, run in pair.items():
                hits[name].append(correct(run))
            ratios.append(seconds(pair["float32"]) / seconds(pair["bfloat16"]))
            print(source, seed, [float(hits[name][-1].mean().round(4)) for name in FORMATS], ratios[-1], flush=True)
        a, b = (np.concatenate(hits[name]) for name in FORMATS)
        only = int((a & ~b).sum()), int((b & ~a).sum())
        p = mcnemar(*only)
        spread = 1.96 * np.sqrt(sum(only)) / len(a)  # of a difference of pairs
        shown = f"{a.mean():.3f} → {b.mean():.3f} ± {spread:.3f} (n {len(a) // seeds}, {seeds} seeds)"
        note = f"right in float32 only {only[0]}, in bfloat16 only {only[1]}, McNemar p {p:.2f}"
        yield Line("accuracy", f"{source}, accuracy", float(b.mean() - a.mean()), shown, *at_least(p, LEAST_P), note)
    gain = float(np.median(ratios))
    spread = f"{gain:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
    yield Line("time", "training, times as fast, by the clock", gain, spread, *at_least(gain, LEAST_GAIN))


def correct(run: Run) -> np.ndarray:
    """Whether each test image is right."""
    rows = run.predictions("test")
    return rows.predicted == rows.labels


def seconds(run: Run) -> float:
    """Of the passes over the training images."""
    epochs = run.record["fine_tuning"]["epochs"]
    return sum(float(one["seconds"]) for one in epochs)


if __name__ == "__main__":
    main()
