"""Does int8 or bfloat16 cost accuracy, and what does it save? Every backbone with weights here × every real set.

    HEADSTART_TEST_DATA=… python benchmarks/precision.py [--backbones NAME,…] [--sets NAME,…] [--cache FOLDER]

The classifiers of one set are trained on the same images with the same split, and answer the same test images: accuracy
is compared in pairs (images that only one of the two classifies correctly). Calibration images are training images.
Speed: processor seconds of a batch of 8 on one thread, taking turns with the fastest float32 engine. Size: of the
classifier's file. `--precision auto` may take only what passes `RULE` here.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import torch

import headstart as hs
from headstart import runtime
from headstart.engines.bfloat16 import has_bfloat16
from headstart.engines.choose import choose_engine
from headstart.evaluation.paired import paired_difference
from headstart.workbench.run import Run
from machine import hardware
from record import Line, show, spending, test_data, write

RULE = "mean within 0.3 points of float32, and no set more than two images worse"
WITHIN, IMAGES = 0.003, 2
FILES = {
    "resnet18": "resnet18_imagenet",
    "efficientnet_lite0": None,
    "embedded": None,
    "squeezenet1_0": "squeezenet1_0_imagenet",
    "mobilenet_v2_035": "mobilenet_v2_035_imagenet_features",
    "efficientnet_lite2": None,
    "cifar_resnet20": "cifar10_resnet20",
    "cifar_resnet56": "cifar10_resnet56",
}
SETS = "hymenoptera,plant_seedlings,scenes100,solar_cells,blood_cells,textures10,rps_photos,rps28,cifar10_sample/test"
PRECISIONS = ("float32", "bfloat16", "int8") if has_bfloat16() else ("float32", "int8")


def main() -> None:
    """Train every cell, print each backbone's table, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default=",".join(FILES))
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--precisions", default=",".join(PRECISIONS[1:]), help="to compare with float32")
    parser.add_argument("--cache", help="a folder that keeps features and networks between runs")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = test_data()
    flags = sorted(flag for flag in runtime.cpu_flags() if flag.startswith(("avx", "amx")))
    for name in chosen.backbones.split(","):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HEADSTART_CACHE"] = chosen.cache or f"{folder}/cache"
            lines = Comparison(name, data, Path(folder), tuple(chosen.precisions.split(","))).lines(
                chosen.sets.split(",")
            )
        show(lines)
        write("precision", lines, hardware={**hardware(), "flags": flags}, rule=RULE)


@dataclass
class Comparison:
    """One backbone on several sets, in float32 and in other precisions; runs go into a folder."""

    name: str
    data: Path
    folder: Path
    precisions: tuple[str, ...]

    def lines(self, sets: Sequence[str]) -> list[Line]:
        """Each set, and for each precision all sets, speed and size."""
        lines: list[Line] = []
        differences: dict[str, list[float]] = {precision: [] for precision in self.precisions}
        worse: dict[str, int] = dict.fromkeys(self.precisions, 0)
        runs: dict[str, Run] = {}
        for place in sets:
            runs = {one: self.trained(place, one) for one in ("float32", *self.precisions)}
            correct = {precision: answers(run) for precision, run in runs.items()}
            for one in self.precisions:
                line, fewer = compared(f"{self.name}, {place}, {one}", correct["float32"], correct[one])
                lines.append(line)
                differences[one].append(line.value)
                worse[one] = max(worse[one], fewer)
                print(f"  {line.what}: {line.shown}; {line.note}", flush=True)
        rates, sizes = speeds(runs), {one: size(run) for one, run in runs.items()}
        for one, found in differences.items():
            note = f"{rates[one]}; file {sizes[one]:.1f} MB, float32 {sizes['float32']:.1f} MB"
            note += f"; {len(found)} sets, the worst has {worse[one]} more mistakes"
            shown, passed = f"{100 * mean(found):+.2f} points on average", mean(found) >= -WITHIN
            verdict = "passed" if passed and worse[one] <= IMAGES else "failed"
            if len(found) < len(SETS.split(",")):
                verdict = "not judged: not all sets"
            lines.append(Line(self.name, f"{self.name}, all sets, {one}", mean(found), shown, RULE, verdict, note))
        return lines

    def trained(self, place: str, precision: str) -> Run:
        """A run on a set."""
        file, out = FILES[self.name], self.folder / place / precision
        weights = None if file is None else str(self.data / "weights" / f"{file}.safetensors")
        options = {"backbone": self.name, "weights": weights, "offline": True, "inside": False, "precision": precision}
        found: Run = hs.train(self.data / place, out=out, on_event=None, **options)
        return found


def answers(run: Run) -> dict[str, bool]:
    """Test image → whether it was classified correctly."""
    return {row["path"]: row["predicted"] == row["label"] for row in run.predictions() if row["split"] == "test"}


def compared(what: str, float32: dict[str, bool], low: dict[str, bool]) -> tuple[Line, int]:
    """Accuracy of both on the same images, and how many more mistakes."""
    names = list(float32)
    only_low = sum(low[one] and not float32[one] for one in names)
    only_float32 = sum(float32[one] and not low[one] for one in names)
    found = paired_difference([low[one] - float32[one] for one in names]).difference
    before, after = (sum(one.values()) / len(names) for one in (float32, low))
    shown = f"{after:.3f}, float32 {before:.3f}, n {len(names)}"
    note = f"{only_low} images correct only here, {only_float32} only in float32; {found.low:+.3f} to {found.high:+.3f}"
    return Line(what.partition(",")[0], what, after - before, shown, note=note), only_float32 - only_low


def speeds(runs: dict[str, Run]) -> dict[str, str]:
    """Milliseconds of one image in each precision and how many times that is the fastest float32 engine's rate."""
    cache, models = runtime.cache_folder(), {name: run.classifier.backbone for name, run in runs.items()}
    plain = models.pop("float32")
    forwards = {
        f"float32, {name}": choose_engine(plain, name=name, cache_folder=cache).forward
        for name in ("eager", "folded", "onnxruntime")
    }
    forwards |= {name: model.features for name, model in models.items()}
    pixels = torch.randn(8, 3, plain.preprocess.crop, plain.preprocess.crop, generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {name: [] for name in forwards}
    for number in range(6):
        for name, forward in forwards.items():
            with spending() as spent:
                forward(pixels)
            times[name] += [spent.cpu / len(pixels)] if number else []
    seconds = {name: median(some) for name, some in times.items()}
    best = min((name for name in seconds if name.startswith("float32")), key=lambda name: seconds[name])
    eager = seconds["float32, eager"]
    return {
        name: f"{1000 * seconds[name]:.2f} ms an image, {seconds[best] / seconds[name]:.2f} times {best}, "
        f"{eager / seconds[name]:.2f} times eager"
        for name in models
    }


def size(run: Run) -> float:
    """Of the classifier's file, MB."""
    return (run.folder / "classifier.safetensors").stat().st_size / 1e6


if __name__ == "__main__":
    main()
