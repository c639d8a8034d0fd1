"""What does `Classifier.predict` of one image cost beside a plain torch forward pass with PIL and torchvision?

    HEADSTART_TEST_DATA=… python benchmarks/predict_one.py [--images 60] [--starts 5]

The classifier is trained on ants and bees first and opened from its file, as a user has it: it answers with the engine
that training has measured to be the fastest on this machine. Both take turns on the same photographs, first one then
the other in front, so that a busy moment and a warm file hit both alike; the ratio is that of the medians over all
photographs. Once on one thread, once on as many as torch takes by itself: on a busy machine the second says little.
Last, the time from the start of a process to the first answer: of `headstart predict` and of the plain script.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision import models, transforms  # type: ignore[import-untyped]

import headstart as hs
from headstart.classifier.classifier import Classifier
from machine import hardware
from record import Line, Spent, at_most, show, spending, test_data, write

LIMITS = {"float32": 0.65, "int8": 0.35}
BACKBONES = ("resnet18", "squeezenet1_0")
FIRST_ANSWER = 2.0  # seconds
PLAIN = """
import sys

import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import models, transforms

network = models.resnet18()
network.load_state_dict(load_file(sys.argv[1]))
steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
prepare = transforms.Compose([*steps, transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
with torch.no_grad():
    print(network.eval()(prepare(Image.open(sys.argv[2]).convert("RGB"))[None]).argmax().item())
"""
Predict = Callable[[Path], object]


def main() -> None:
    """Time both predictors on the same photographs, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--starts", type=int, default=5)
    chosen = parser.parse_args()
    data, lines, threads = test_data(), [], sorted({1, torch.get_num_threads()})
    photographs = sorted((data / "hymenoptera" / "val").glob("*/*"))[:: max(1, 153 // chosen.images)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEADSTART_CACHE"] = f"{folder}/cache"
        for backbone in BACKBONES:
            weights = data / "weights" / f"{backbone}_imagenet.safetensors"
            opened = {one: ours(data, backbone, weights, precision=one, out=Path(folder) / one) for one in LIMITS}
            predictors = {"plain": plain(backbone, weights), **{one: model.predict for one, model in opened.items()}}
            for number in threads:
                torch.set_num_threads(number)
                what = f"{backbone}, {number} thread{'s' * (number > 1)}"
                lines += compared(what, alternating(predictors, photographs))
        weights = data / "weights" / "resnet18_imagenet.safetensors"
        runs = {precision: Path(folder) / precision / "resnet18" for precision in LIMITS}
        lines += starts(runs, weights, photographs[0], times=chosen.starts)
    show(lines)
    write("predict_one", lines, hardware=hardware())


def plain(backbone: str, weights: Path) -> Predict:
    """As in the tutorials: PIL, torchvision's transforms, the whole network with a new head, a softmax."""
    network = getattr(models, backbone)()
    network.load_state_dict(load_file(weights))
    if backbone == "resnet18":
        network.fc = nn.Linear(512, 2)
    else:
        network.classifier[1] = nn.Conv2d(512, 2, 1)
    network.eval()
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    prepare = transforms.Compose([*steps, transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])

    def predict(path: Path) -> object:
        with torch.no_grad():
            pixels = prepare(Image.open(path).convert("RGB"))[None]
            return network(pixels).softmax(1).argmax().item()

    return predict


def ours(data: Path, backbone: str, weights: Path, *, precision: str, out: Path) -> Classifier:
    """A classifier from its file, with the engine that its training has measured."""
    options = {"backbone": backbone, "weights": str(weights), "precision": precision, "inside": False}
    run = hs.train(data / "hymenoptera", out=out / backbone, on_event=None, offline=True, **options)
    print(f"… {backbone} {precision}: {run.record['engine']}", flush=True)
    return Classifier.load(run.folder)


def alternating(predictors: dict[str, Predict], photographs: list[Path]) -> dict[str, list[Spent]]:
    """Time that each predictor spent on each photograph; the first three are not counted."""
    spent: dict[str, list[Spent]] = {name: [] for name in predictors}
    for number, path in enumerate([*photographs[:3], *photographs]):
        names = list(predictors) if number % 2 else list(reversed(predictors))
        for name in names:
            with spending() as one:
                predictors[name](path)
            if number >= 3:
                spent[name].append(one)
    return spent


def compared(what: str, spent: dict[str, list[Spent]]) -> list[Line]:
    """The ratio of medians by the clock and by CPU seconds."""
    wall = {name: median(one.wall for one in rounds) for name, rounds in spent.items()}
    cpu = {name: median(one.cpu for one in rounds) for name, rounds in spent.items()}
    lines = []
    for name, limit in LIMITS.items():
        ratio, cpu_ratio = (by[name] / by["plain"] for by in (wall, cpu))
        goal, verdict = at_most(ratio, limit)
        note = f"{wall[name] * 1000:.1f} ms against {wall['plain'] * 1000:.1f} ms; by CPU seconds {cpu_ratio:.2f}"
        shown = f"{ratio:.2f} times"
        lines.append(
            Line("predict_one", f"predict of one photograph over plain torch, {what}, {name}", ratio, shown,
                 goal, verdict, note)
        )  # fmt: skip
    return lines


def starts(runs: dict[str, Path], weights: Path, photograph: Path, *, times: int) -> list[Line]:
    """From the start of a process to its first answer, in turns; the first turn warms the disk and is not counted."""
    script = [sys.executable, "-c", PLAIN, str(weights), str(photograph)]
    commands = {"plain torch": script}
    for name, run in runs.items():
        commands[name] = [sys.executable, "-m", "headstart", "predict", str(run), str(photograph)]
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for turn in range(times + 1):
        for name, command in commands.items():
            with spending() as one:
                subprocess.run(command, check=True, capture_output=True)
            if turn:
                spent[name].append(one)
    plain_wall = median(one.wall for one in spent["plain torch"])
    lines = []
    for name in runs:
        wall, cpu = median(one.wall for one in spent[name]), median(one.cpu for one in spent[name])
        goal, verdict = at_most(wall, FIRST_ANSWER)
        note = f"{cpu:.2f} CPU s; {wall / plain_wall:.2f} of the plain script's {plain_wall:.2f} s"
        what = f"process start to the first answer, resnet18, {name}"
        lines.append(Line("predict_one", what, wall, f"{wall:.2f} s", goal, verdict, note))
    return lines


if __name__ == "__main__":
    main()
