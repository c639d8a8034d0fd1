"""From file bytes to a solved head: what does headstart spend against ten epochs of the textbook loop?

    HEADSTART_TEST_DATA=… python benchmarks/pipeline.py [--images 244] [--rounds 1]

Both ways see the same photographs through the same resnet18. One epoch of the textbook is run and counted ten times,
for every epoch costs the same. Everything is run twice: on one thread, where CPU seconds mean work done, and
with all cores, where the clock means something if the machine is idle. Also: the share of the least possible, a whole
`train` with audit and report apart, a second head from the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import headstart as hs
from bytes_to_head import Photographs, bytes_to_head, choose_photographs, made_features, mean, solve
from headstart import runtime
from headstart.backbones.backbone import Backbone, load_backbone
from headstart.features.cache import FeatureCache
from headstart.features.matrix import Features
from machine import hardware, matrix_rate
from record import Line, Spent, at_least, at_most, cpu_seconds, show, spending, test_data, write
from textbook import textbook_epochs

EPOCHS = 10
LESS_CPU, LESS_WALL, SHARE_OF_FLOOR, SECOND_HEAD = 12.0, 15.0, 0.85, 1.0


def main() -> None:
    """Answer the questions, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=244, help="photographs to train on")
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photographs = choose_photographs(test_data(), work, chosen.images)
        backbone = load_backbone("resnet18", weights=str(photographs.weights), offline=True)
        lines = on_one_thread(photographs, backbone, work, chosen.rounds)
        lines += on_all_cores(photographs, backbone, work, chosen.rounds)
        lines += [whole_train(photographs, work), second_head(work)]
    show(lines)
    write("pipeline", lines, hardware=hardware())


# --- against the textbook -----------------------------------------------------------------------------------------


def on_one_thread(photographs: Photographs, backbone: Backbone, work: Path, rounds: int) -> list[Line]:
    """The ratio of CPU seconds, and the share of the floor; the methods take turns."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ours, theirs, floors = [], [], [measure_floor(photographs, backbone.spec.gflop)]
    for number in range(rounds):
        ours.append(bytes_to_head(photographs, backbone, work / f"one-{number}", workers=1))
        floors.append(measure_floor(photographs, backbone.spec.gflop))
        theirs.append(textbook_epochs(photographs.folder, photographs.weights, workers=0))
    torch.set_num_threads(threads)
    n = len(photographs.paths)
    return [cpu_line(ours, theirs, n), floor_line(ours, floors, n)]


def cpu_line(ours: Sequence[dict[str, Spent]], theirs: Sequence[Spent], n: int) -> Line:
    """The ratio of CPU seconds, and where headstart's go."""
    whole, epoch = mean([one["whole"].cpu for one in ours]), mean([one.cpu for one in theirs])
    goal, verdict = at_least(EPOCHS * epoch / whole, LESS_CPU)
    steps = ("hash", "engine", "features", "head")
    parts = ", ".join(f"{step} {mean([one[step].cpu for one in ours]):.2f}" for step in steps)
    what = f"one thread, CPU seconds: ten textbook epochs over headstart, {n} photographs"
    note = f"{whole:.1f} s ({parts}) against {EPOCHS} × {epoch:.1f} s"
    return Line("textbook", what, EPOCHS * epoch / whole, f"{EPOCHS * epoch / whole:.1f} times", goal, verdict, note)


def on_all_cores(photographs: Photographs, backbone: Backbone, work: Path, rounds: int) -> list[Line]:
    """The ratio by the clock, best of the rounds, with the textbook's usual numbers of workers."""
    ours: list[Spent] = []
    theirs: dict[int, list[Spent]] = {0: [], 2: []}
    for number in range(rounds):
        ours.append(bytes_to_head(photographs, backbone, work / f"all-{number}", runtime.cores())["whole"])
        for workers, spent in theirs.items():
            spent.append(textbook_epochs(photographs.folder, photographs.weights, workers))
    return [clock_line(ours, spent, workers) for workers, spent in theirs.items()]


def clock_line(ours: Sequence[Spent], theirs: Sequence[Spent], workers: int) -> Line:
    """The ratio by the clock for one number of workers; the goal is for the better one, two."""
    whole, epoch = (min(spent, key=lambda one: one.wall) for spent in (ours, theirs))
    ratio = EPOCHS * epoch.wall / whole.wall
    goal, verdict = at_least(ratio, LESS_WALL) if workers == 2 else ("", "")
    busy = f"CPU {whole.cpu:.1f} s and {EPOCHS} × {epoch.cpu:.1f} s; load {os.getloadavg()[0]:.1f}"
    note = f"{whole.wall:.1f} s against {EPOCHS} × {epoch.wall:.1f} s; {busy}"
    what = f"all cores, by the clock: the same with {workers} workers"
    return Line("textbook", what, ratio, f"{ratio:.1f} times", goal, verdict, note)


# --- what the least possible is -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Floor:
    """Processor seconds for one image on one core: operations at the matrix product's rate, and bytes to pixels."""

    gflops: float
    network: float
    pixels: float


def measure_floor(photographs: Photographs, gflop: float, sample: int = 60) -> Floor:
    """Measured now, on one thread."""
    rate = matrix_rate()
    read, paths = quickest_pixels(), photographs.paths[:: max(1, len(photographs.paths) // sample)]
    read(paths[0])
    with spending() as spent:
        for path in paths:
            read(path)
    return Floor(rate, gflop / rate, spent.cpu / len(paths))


def quickest_pixels() -> Callable[[Path], object]:
    """Bytes to 3×224×224 uint8 the fastest correct way known: simplejpeg, torchvision v2 on a channels-last view."""
    from torchvision.transforms.v2 import functional as v2  # type: ignore[import-untyped]

    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        decode_jpeg = None

    def read(path: Path) -> object:
        rgb = decode_jpeg(path.read_bytes()) if decode_jpeg else np.array(Image.open(path).convert("RGB"))
        image = torch.from_numpy(rgb).permute(2, 0, 1)
        return v2.center_crop(v2.resize(image, [256], antialias=True), [224, 224])

    return read


def floor_line(ours: Sequence[dict[str, Spent]], floors: Sequence[Floor], n: int) -> Line:
    """The share of the floor that bytes to features reach."""
    network, pixels = 1000 * mean([one.network for one in floors]), 1000 * mean([one.pixels for one in floors])
    spent = 1000 * mean([one["features"].cpu for one in ours]) / n
    share = (network + pixels) / spent
    goal, verdict = at_least(share, SHARE_OF_FLOOR)
    rates = " ".join(f"{one.gflops:.0f}" for one in floors)
    parts = f"network {network:.1f} at {rates} GFLOP/s, decode and resize {pixels:.1f}"
    note = f"floor {network + pixels:.1f} ms an image ({parts}), spent {spent:.1f} ms"
    return Line(
        "floor", "one thread: bytes to features, share of the floor", share, f"{share:.2f}", goal, verdict, note
    )


# --- the rest of the job ------------------------------------------------------------------------------------------


def whole_train(photographs: Photographs, work: Path) -> Line:
    """One `train` with everything in it, audit and report timed apart."""
    os.environ["HEADSTART_CACHE"] = str(work / "train-cache")
    stamps, given = Stamps(), {"backbone": "resnet18", "weights": str(photographs.weights), "offline": True}
    with spending() as whole:
        run = hs.train(photographs.folder, out=work / "run", on_event=stamps, **given)  # type: ignore[operator]
    wall = ", ".join(f"{step} {seconds:.1f}" for step, seconds in run.record["timings"].items())
    cpu = ", ".join(f"{step} {seconds:.1f}" for step, seconds in stamps.steps().items())
    what = f"whole train, {len(photographs.paths)} photographs, audit and report too"
    return Line("train", what, whole.wall, f"{whole.wall:.1f} s", note=f"clock: {wall}; CPU seconds: {cpu}")


class Stamps:
    """Processor seconds at the events of `train`."""

    def __init__(self) -> None:
        self.at = {"start": cpu_seconds()}

    def __call__(self, event: object) -> None:
        self.at[getattr(event, "step", type(event).__name__)] = cpu_seconds()

    def steps(self) -> dict[str, float]:
        """Seconds from each moment to the next."""
        ends = {"audit and split": "Found", "backbone and engine": "Plan", "features": "extract features"}
        ends["head, evaluation, report, files"] = "Verdict"
        moments = [self.at["start"], *(self.at[key] for key in ends.values())]
        return {step: moments[i + 1] - moments[i] for i, step in enumerate(ends)}


def second_head(work: Path, n: int = 2500, width: int = 512, classes: int = 10) -> Line:
    """Another head on features that lie in the cache: read, solved over the whole path, calibrated."""
    features, labels = made_features(n, width, classes)
    contents = tuple(hashlib.sha256(str(i).encode()).hexdigest() for i in range(n))
    FeatureCache(work / "second", 1e10).open({"made": "up"}).add(contents, features)
    with spending() as spent:
        matrix = np.empty((n, width), np.float32)
        for positions, rows in FeatureCache(work / "second", 1e10).open({"made": "up"}).read(contents):
            matrix[positions] = rows
        solve(Features(matrix, {"last": (0, width)}, contents, contents), labels, {"pooled": ("last",)})
    goal, verdict = at_most(spent.wall, SECOND_HEAD, " s")
    what = f"second head from the cache, N {n:,}, D {width}, {classes} classes"
    return Line("second-head", what, spent.wall, f"{spent.wall:.2f} s", goal, verdict, f"{spent.cpu:.2f} CPU s")


if __name__ == "__main__":
    main()
