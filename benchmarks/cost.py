"""What a million images cost: processor time of each network, in float32 and in int8, and of reading photographs.

    HEADSTART_TEST_DATA=… python benchmarks/cost.py [--backbones resnet18,resnet50] [--price 0.05]

One thread, processor seconds, alternating engines, as `engines.py`: comparable on a machine that does other work too.
float32 is the faster of folded and onnxruntime; int8 is what `--precision int8` runs. Reading is from bytes to prepared
pixels, on photographs of the test data.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from engines import Timing, backbone_of, timed
from headstart.backbones.backbone import Backbone
from headstart.data.images import ImageRules, open_image
from headstart.engines.choose import choose_engine
from headstart.engines.forward import Forward
from headstart.engines.int8 import CALIBRATION_IMAGES, CalibrationImages, quantize
from headstart.errors import BackboneError
from machine import hardware
from record import Line, show, spending, write

DEFAULT = "mobilenet_v3_small,embedded,efficientnet_lite0,squeezenet1_0,resnet18,resnet50"
MILLION = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Images per processor second: of the network in float32 and in int8, and of reading."""

    float32: float
    int8: float
    reading: float

    def hours(self, rate: float) -> float:
        """Core-hours of a million images by a network of this rate, reading included."""
        return MILLION / 3600 * (1 / rate + 1 / self.reading)


def main() -> None:
    """Measure every backbone, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default=DEFAULT)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--price", type=float, default=0.05, help="of a core-hour, in your currency")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(os.environ["HEADSTART_TEST_DATA"], "hymenoptera", "train")
    photographs = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[:CALIBRATION_IMAGES]]
    lines: list[Line] = []
    for name in chosen.backbones.split(","):
        cost = measured(backbone_of(name), photographs, batch=chosen.batch, rounds=chosen.rounds)
        lines += lines_of(name, cost, chosen.price)
    show(lines)
    write("cost", lines, hardware=hardware(), batch=chosen.batch, price=chosen.price)


def measured(backbone: Backbone, photographs: Sequence[bytes], *, batch: int, rounds: int) -> Cost:
    """The rates of one network; int8 is 0 where it cannot be had."""
    prepared, reading = read(backbone, photographs, rounds)
    forwards: dict[str, Forward] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("folded", "onnxruntime"):
            forwards[name] = choose_engine(backbone, name=name, cache_folder=Path(folder)).forward
        images = CalibrationImages(["cost"], lambda: backbone.preprocess.normalise(prepared))
        try:
            low = quantize(backbone, images, cache_folder=Path(folder)).low_precision
        except BackboneError as error:
            print(f"{backbone.spec.name}: no int8: {error}")
            low = None
        if low is not None:
            forwards["int8"] = low.forward
        timings = timed(backbone, {"eager": backbone.features, **forwards}, dict.fromkeys(["eager", *forwards], 0.0),
                        batch, rounds)  # fmt: skip
    none = Timing(0.0, 0.0, 0.0)
    return Cost(max(timings[name].rate for name in ("folded", "onnxruntime")), timings.get("int8", none).rate, reading)


def read(backbone: Backbone, photographs: Sequence[bytes], rounds: int) -> tuple[torch.Tensor, float]:
    """Prepared pixels N×3×S×S, and how many a processor second reads."""
    rules, seconds, pixels = ImageRules(), [], torch.empty(0)
    for _ in range(rounds):
        with spending() as spent:
            pixels = torch.stack([backbone.preprocess.prepare(open_image(one, rules).rgb) for one in photographs])
        seconds.append(spent.cpu)
    return pixels, len(photographs) / median(seconds)


def lines_of(name: str, cost: Cost, price: float) -> list[Line]:
    """One line for each precision."""
    lines = []
    for precision, rate in (("float32", cost.float32), ("int8", cost.int8)):
        if rate:
            hours = cost.hours(rate)
            note = f"network {rate:.1f} images/s, reading {cost.reading:.0f}; {hours * price:.2f} at {price:g} each"
            lines.append(Line(name, f"{name}, {precision}", hours, f"{hours:.2f} core-hours a million", note=note))
    return lines


if __name__ == "__main__":
    main()
