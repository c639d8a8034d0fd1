"""How much faster than the network itself is each engine, with the same features?

    [HEADSTART_TEST_DATA=…] python benchmarks/engines.py [--backbones resnet18,resnet50] [--batch 16] [--compiled]

One thread, processor seconds, alternating engines: these are comparable on a machine that does other work too. The
share is of the rate of a float32 matrix product of side 2048, measured between the backbones. Real weights where there
are some, else random ones with batch norms that do something. `unpacked` is `folded` without packed convolutions, see
docs/decisions/packed-convolutions.md. `--compiled` adds a minute for every backbone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import nn

from headstart.backbones.backbone import Backbone, build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS
from headstart.engines.benchmark import TOLERANCE
from headstart.engines.choose import choose_engine
from headstart.engines.forward import Forward, folded_forward
from headstart.errors import BackboneError
from headstart.registry import register_engine
from machine import hardware, matrix_rate, matrix_rates
from record import Line, at_least, show, spending, write

GOALS = {
    "resnet18": 1.35,
    "squeezenet1_1": 3.5,
    "mobilenet_v3_small": 1.4,
    "efficientnet_b0": 2.0,
    "resnet50": 1.4,
}
REAL = {"resnet18": "resnet18_imagenet", "squeezenet1_0": "squeezenet1_0_imagenet"}


@dataclass(frozen=True)
class Timing:
    """One engine on one backbone: images per processor second, largest difference from eager, seconds until it ran."""

    rate: float
    difference: float
    start: float


def main() -> None:
    """Measure every backbone, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default=",".join([*GOALS, "squeezenet1_0"]))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    register_engine("unpacked")(lambda backbone: folded_forward(backbone, packed=False))
    names = ("folded", "unpacked", "onnxruntime", *(("compiled",) if chosen.compiled else ()))
    lines, peaks = [], matrix_rates()
    for name in chosen.backbones.split(","):
        with tempfile.TemporaryDirectory() as folder:
            timings = measure(backbone_of(name), names, Path(folder), chosen.batch, chosen.rounds)
        peaks.append(matrix_rate())
        lines += lines_of(name, timings, peaks[-1])
    show(lines)
    print(f"matrix product on one thread: {median(peaks):.0f} GFLOP/s, from {min(peaks):.0f} to {max(peaks):.0f}")
    write("engines", lines, hardware=hardware(), matrix_gflops=round(median(peaks), 1), batch=chosen.batch)


def backbone_of(name: str) -> Backbone:
    """Real weights when the test data has them, else drawn ones."""
    folder = os.environ.get("HEADSTART_TEST_DATA")
    if folder and name in REAL:
        return load_backbone(name, weights=str(Path(folder) / "weights" / f"{REAL[name]}.safetensors"), offline=True)
    backbone = build_backbone(SPECS[name])
    generator = torch.Generator().manual_seed(0)
    for module in backbone.network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0, 0.2, generator=generator)
    return backbone


def measure(backbone: Backbone, names: tuple[str, ...], folder: Path, batch: int, rounds: int) -> dict[str, Timing]:
    """Every available engine, alternating on the same pixels."""
    forwards: dict[str, Forward] = {}
    starts: dict[str, float] = {}
    for name in ("eager", *names):
        began = time.perf_counter()
        try:
            engine = choose_engine(backbone, name=name, cache_folder=folder)
        except BackboneError as error:
            print(f"{backbone.spec.name}: no {name}: {error.found}")
            continue
        if engine.name != name:
            print(f"{backbone.spec.name}: {engine.reason}")
            continue
        forwards[name], starts[name] = engine.forward, time.perf_counter() - began
    return timed(backbone, forwards, starts, batch, rounds)


def timed(
    backbone: Backbone, forwards: Mapping[str, Forward], starts: Mapping[str, float], batch: int, rounds: int
) -> dict[str, Timing]:
    """Median rates, and the furthest feature of any stage as a share of the largest in that stage."""
    side = backbone.preprocess.crop
    pixels = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))
    features = {name: forward(pixels) for name, forward in forwards.items()}
    seconds: dict[str, list[float]] = {name: [] for name in forwards}
    for _ in range(rounds):
        for name, forward in forwards.items():
            with spending() as spent:
                forward(pixels)
            seconds[name].append(spent.cpu)
    eager, stages = features["eager"], backbone.slices.values()
    far = {
        name: max(float((eager[:, s] - found[:, s]).abs().max() / eager[:, s].abs().max()) for s in stages)
        for name, found in features.items()
    }
    return {name: Timing(batch / median(seconds[name]), far[name], starts[name]) for name in forwards}


def lines_of(name: str, timings: Mapping[str, Timing], peak: float) -> list[Line]:
    """One line for each engine; the goal stands beside the fastest."""
    eager = timings["eager"].rate
    fastest = max(timings, key=lambda engine: timings[engine].rate)
    lines = []
    for engine, timing in timings.items():
        ratio = timing.rate / eager
        goal = at_least(ratio, GOALS[name]) if engine == fastest and name in GOALS else ("", "")
        equal = "equal" if timing.difference <= TOLERANCE else "NOT EQUAL"
        share = timing.rate * SPECS[name].gflop / peak
        note = f"{timing.rate:.1f} images/s, {share:.0%} of the matrix product, {equal} to {timing.difference:.0e}"
        note += f", ready after {timing.start:.1f} s"
        lines.append(Line(name, f"{name}, {engine}", ratio, f"{ratio:.2f} times eager", *goal, note))
    return lines


if __name__ == "__main__":
    main()
