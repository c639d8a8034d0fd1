"""What do `Classifier.predict` and `headstart.predict` cost on 1,000 arrays over the plain torch loop?

    HEADSTART_TEST_DATA=… python benchmarks/predict_arrays.py [--images 1000]

All on one thread of torch, with the same network, the same preprocessing and the same batches; headstart prepares the
next images in a thread of its own meanwhile, so CPU seconds are the fairer number, and both are shown. They take turns
on blocks of the same photographs in memory, so that a busy moment hits all alike; the ratio is the median over blocks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision import models, transforms  # type: ignore[import-untyped]

import headstart as hs
from headstart.backbones.backbone import load_backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import BATCH_SIZE, Classifier
from headstart.heads.head import Head
from machine import hardware
from record import Line, Spent, at_most, show, spending, test_data, write

LIMIT = 1.05
BLOCK = 50  # images that one of them predicts before another takes its turn
Arrays = list[NDArray[np.uint8]]


def main() -> None:
    """Time all on the same arrays, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    count = parser.parse_args().images
    files = sorted((test_data() / "hymenoptera").rglob("*.jpg"))
    arrays = [np.array(Image.open(files[i % len(files)]).convert("RGB")) for i in range(count)]
    weights = test_data() / "weights" / "resnet18_imagenet.safetensors"
    classifier = ours(str(weights))
    torch.set_num_threads(1)
    methods: dict[str, Callable[[Arrays], object]] = {
        "plain": plain(load_file(weights)),
        "Classifier.predict": classifier.predict,
        "headstart.predict": lambda some: hs.predict(classifier, some, on_event=None, workers=1),
    }
    for method in methods.values():  # what is made once, such as a choice of the engine
        method(arrays[:BLOCK])
    blocks = [arrays[i : i + BLOCK] for i in range(0, count, BLOCK)]
    spent: dict[str, list[Spent]] = {name: [] for name in methods}
    for number, block in enumerate(blocks):
        names = list(methods)
        for name in names[number % 3 :] + names[: number % 3]:
            with spending() as one:
                methods[name](block)
            spent[name].append(one)
    lines = [line for name in list(methods)[1:] for line in compared(name, spent[name], spent["plain"])]
    show(lines)
    write("predict_arrays", lines, hardware=hardware())


def plain(state: dict[str, torch.Tensor]) -> Callable[[Arrays], object]:
    """As in the tutorials: torchvision's transforms on Pillow images, the whole network with a new head, a softmax."""
    network = models.resnet18()
    network.load_state_dict(state)
    network.fc = nn.Linear(512, 2)
    network.eval()
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    prepare = transforms.Compose([*steps, transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])

    def predict(arrays: Arrays) -> object:
        found = []
        with torch.inference_mode():
            for i in range(0, len(arrays), BATCH_SIZE):
                batch = torch.stack([prepare(Image.fromarray(array)) for array in arrays[i : i + BATCH_SIZE]])
                found += network(batch).softmax(1).tolist()
        return found

    return predict


def ours(weights: str) -> Classifier:
    """A Classifier on the stages that `auto` takes; its head's numbers do not matter for the time."""
    network = load_backbone("resnet18", weights=weights, offline=True)
    stages = network.spec.choose_stages("auto")
    width = sum(network.spec.stage(stage).width for stage in stages)
    head = Head("ridge", stages, np.random.default_rng(0).normal(size=(width, 2)), np.zeros(2), 1.0)
    return Classifier(network, head, Card.of(network, head, ("ants", "bees")))


def compared(name: str, own: list[Spent], reference: list[Spent]) -> list[Line]:
    """Median ratio over the blocks, by CPU seconds and by the clock."""
    cpu = median(a.cpu / b.cpu for a, b in zip(own, reference, strict=True))
    wall = median(a.wall / b.wall for a, b in zip(own, reference, strict=True))
    goal, verdict = at_most(cpu, LIMIT)
    per_image = [1000 * sum(one.cpu for one in spent) / (BLOCK * len(spent)) for spent in (own, reference)]
    note = f"{per_image[0]:.1f} ms CPU against {per_image[1]:.1f} ms; by the clock {wall:.2f}"
    what = f"{name} of {BLOCK * len(own):,} arrays over the plain torch loop, resnet18, 1 thread, CPU seconds"
    return [Line("predict_arrays", what, cpu, f"{cpu:.2f} times", goal, verdict, note)]


if __name__ == "__main__":
    main()
