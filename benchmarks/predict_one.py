"""What does `Classifier.predict` of one image cost over a plain torch forward pass with PIL and torchvision?

    HEADSTART_TEST_DATA=… python benchmarks/predict_one.py [--images 60]

Both are loaded before. They take turns on the same photographs, first one then the other in front, so that a busy
moment and a warm file hit both alike; the ratio is that of the medians over all photographs. Once on one thread, once
on as many as torch takes by itself: on a busy machine the second says little.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision import models, transforms  # type: ignore[import-untyped]

from headstart.backbones.backbone import load_backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.heads.head import Head
from machine import hardware
from record import Line, Spent, at_most, show, spending, test_data, write

LIMIT = 1.15
BACKBONES = ("resnet18", "squeezenet1_0")
Predict = Callable[[Path], object]


def main() -> None:
    """Time both predictors on the same photographs, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60)
    chosen = parser.parse_args()
    data, lines, threads = test_data(), [], sorted({1, torch.get_num_threads()})
    photographs = sorted((data / "hymenoptera" / "val").glob("*/*"))[:: max(1, 153 // chosen.images)]
    for backbone in BACKBONES:
        weights = data / "weights" / f"{backbone}_imagenet.safetensors"
        predictors = {"plain": plain(backbone, weights), "headstart": ours(backbone, weights)}
        for number in threads:
            torch.set_num_threads(number)
            lines += compared(f"{backbone}, {number} thread{'s' * (number > 1)}", alternating(predictors, photographs))
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


def ours(backbone: str, weights: Path) -> Predict:
    """A Classifier on the last two stages; its head's numbers do not matter for the time."""
    network = load_backbone(backbone, weights=str(weights), offline=True)
    stages = network.spec.choose_stages("auto")
    width = sum(network.spec.stage(stage).width for stage in stages)
    head = Head("ridge", stages, np.random.default_rng(0).normal(size=(width, 2)), np.zeros(2), 1.0)
    return Classifier(network, head, Card.of(network, head, ("ants", "bees"))).predict


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
    ratio, cpu_ratio = (by["headstart"] / by["plain"] for by in (wall, cpu))
    goal, verdict = at_most(ratio, LIMIT)
    note = f"{wall['headstart'] * 1000:.1f} ms against {wall['plain'] * 1000:.1f} ms; by CPU seconds {cpu_ratio:.2f}"
    return [
        Line(
            "predict_one",
            f"predict of one photograph over plain torch, {what}",
            ratio,
            f"{ratio:.2f} times",
            goal,
            verdict,
            note,
        )
    ]


if __name__ == "__main__":
    main()
