"""Does `audit --shortcuts` find a planted border, and is it silent on sets that have no shortcut?

    HEADSTART_TEST_DATA=… python benchmarks/shortcuts.py [--sets NAME,…] [--cache FOLDER]

Twenty draws of two thirds of the groups of the training images of each set, and of drawn hands. Planted: the images of
the first class get a red border of a twelfth of their shorter side, and the alarm has to name border and class; clean:
nothing is changed, and no alarm is right. The features that are compared with are ResNet-18's on unchanged images.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from headstart.backbones.backbone import load_backbone
from headstart.curation.descriptors import full_descriptors
from headstart.curation.shortcuts import ClassifierAccuracy, Shortcut, can_be_looked_for, find_shortcuts
from headstart.data.dataset import Dataset
from headstart.data.images import open_image
from headstart.datasets.hands import draw_hands
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from headstart.workbench.session import Session
from machine import hardware
from record import Line, show, spending, test_data, write

DRAWS = 20
SETS = "hymenoptera,rps_photos,plant_seedlings,scenes100,solar_cells,blood_cells,textures10,drawn_hands"
WEIGHTS = "weights/resnet18_imagenet.safetensors"


def bordered(dataset: Dataset, folder: Path) -> Dataset:
    """The same images; those of the first class are copies with a red border, as PNG, the others as PNG too."""
    samples = []
    for i, sample in enumerate(dataset.samples):
        rgb = open_image(sample.path, dataset.rules).rgb.copy()
        if dataset.labels[i] == 0:
            side = max(2, min(rgb.shape[:2]) // 12)
            rgb[:side], rgb[-side:], rgb[:, :side], rgb[:, -side:] = ([255, 0, 0],) * 4
        path = folder / f"{i}.png"
        Image.fromarray(rgb).save(path, compress_level=1)
        samples.append(replace(sample, path=path))
    return replace(dataset, samples=tuple(samples))


def alarms(dataset: Dataset, families: dict[str, np.ndarray], scores: np.ndarray) -> list[list[Shortcut]]:
    """The alarms of each draw."""
    groups = dataset.groups()
    train = np.array([sample.split in (None, "train") for sample in dataset.samples])
    numbers, found = np.unique(groups[train]), []
    for draw in range(DRAWS):
        chosen = np.random.default_rng(draw).permutation(numbers)[: 2 * len(numbers) // 3]
        rows = np.flatnonzero(np.isin(groups, chosen) & train)
        labels = dataset.labels[rows]
        if not can_be_looked_for(labels, groups[rows]):
            continue
        full = ClassifierAccuracy.of(scores[rows], labels)
        parts = {name: x[rows] for name, x in families.items()}
        all_found = find_shortcuts(parts, labels, groups[rows], full=full, classes=dataset.classes)
        found.append([one for one in all_found if one.is_alarm])
    return found


def line(dataset: Dataset, name: str, kind: str, found: list[list[Shortcut]]) -> Line:
    """One line of the table: clean draws with any alarm, or planted ones that name the border and the class."""
    planted = kind != "clean"
    named = "" if len(dataset.classes) == 2 else dataset.classes[0]  # of two classes each is the other's rest
    right = [any((one.family, one.label) == ("border", named) for one in draw) for draw in found]
    counted = Counter(f"{one.family} {one.label}".strip() for draw in found for one in draw)
    value, goal = (sum(right), len(found)) if planted else (sum(map(bool, found)), 0)
    return Line(
        name=f"{name}-{kind}",
        what=f"{name}, {kind}",
        value=value,
        shown=f"{value} of {len(found)} draws",
        goal=f"{goal} of {len(found)}",
        verdict="met" if value == goal else "missed",
        note="alarms: " + (", ".join(f"{what} {count}" for what, count in counted.most_common()) or "none"),
    )


def _folder(name: str, drawn: Path) -> Path:
    return draw_hands(drawn / name) if name == "drawn_hands" else test_data() / name


def main() -> None:
    """Measure every set, planted and clean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--cache", help="a folder that keeps features between runs")
    chosen = parser.parse_args()
    if chosen.cache:
        os.environ["HEADSTART_CACHE"] = chosen.cache
    torch.set_num_threads(1)
    lines = []
    with spending() as spent, tempfile.TemporaryDirectory() as drawn:
        backbone = load_backbone("resnet18", weights=str(test_data() / WEIGHTS))
        for name in chosen.sets.split(","):
            session = Session()
            dataset = session.dataset(_folder(name, Path(drawn)))
            features = session.features(session.feature_job(dataset, backbone)).features
            view = features.view(np.arange(len(dataset)), backbone.spec.choose_stages("auto"))
            data = LabelledFeatures.of(view, dataset.labels, len(dataset.classes), groups=dataset.groups())
            scores = solve_ridge(data).held_scores
            rows = range(len(dataset))
            clean = full_descriptors(dataset, rows, lambda done, total: None)
            lines.append(line(dataset, name, "clean", alarms(dataset, clean, scores)))
            with tempfile.TemporaryDirectory() as folder:
                planted = full_descriptors(bordered(dataset, Path(folder)), rows, lambda done, total: None)
            # metadata of the copies is that of one program: the originals'
            planted["metadata"] = clean["metadata"]
            lines.append(line(dataset, name, "red border in one class", alarms(dataset, planted, scores)))
            show(lines[-2:])
            write("shortcuts", lines, hardware=hardware(), draws=DRAWS)
    show(lines)
    print(f"{spent.cpu:.0f} s of processor time")


if __name__ == "__main__":
    main()
