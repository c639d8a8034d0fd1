"""Does `review` find wrong labels? AUROC of planted label errors by the left-out margin, on real photographs.

    HEADSTART_TEST_DATA=… python benchmarks/label_errors.py [--sets NAME,…] [--backbone NAME] [--cache FOLDER]

In each of five draws a share of the labels is replaced by another class (each image with the same probability, the
other class drawn evenly). Ridge is solved on the wrong labels, lambda chosen as in training, and images are ranked by
the leave-one-group-out margin. AUROC: probability that a planted error ranks above another image. Precision: planted
errors among as many first images as were planted. Sets have label errors of their own, which count as false alarms.
Beside it: the margin of the fitted head itself, and how many errors the confident joint expects.
"""

from __future__ import annotations

import argparse
import os
from statistics import mean

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from headstart.backbones.backbone import load_backbone
from headstart.curation.label_errors import expected_errors, label_margins
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from headstart.workbench.session import Session
from machine import hardware
from record import Line, at_least, show, spending, test_data, write

DRAWS = 5
SETS = "hymenoptera,rps_photos,plant_seedlings,scenes100,solar_cells,blood_cells,textures10"
GOALS = {("hymenoptera", 0.05): 0.95, ("rps_photos", 0.05): 0.999}
WEIGHTS = "weights/resnet18_imagenet.safetensors"


def plant(labels: np.ndarray, share: float, classes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a share of errors, and which are wrong."""
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[rng.choice(len(labels), round(share * len(labels)), replace=False)] = True
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + rng.integers(1, classes, int(wrong.sum()))) % classes
    return changed, wrong


def measure(data: LabelledFeatures, share: float) -> dict[str, float]:
    """Means over the draws."""
    rows: dict[str, list[float]] = {"auroc": [], "precision": [], "in-sample": [], "expected": [], "planted": []}
    for draw in range(DRAWS):
        labels, wrong = plant(data.labels, share, data.classes, np.random.default_rng(draw))
        path = solve_ridge(LabelledFeatures.of(data.view, labels, data.classes, groups=data.groups))
        margins = label_margins(path.held_scores, labels)
        fitted = label_margins(data.view.array() @ path.weight + path.bias, labels)
        rows["auroc"].append(float(roc_auc_score(wrong, margins.margin)))
        rows["precision"].append(float(wrong[margins.ranked[: wrong.sum()]].mean()))
        rows["in-sample"].append(float(roc_auc_score(wrong, fitted.margin)))
        rows["expected"].append(expected_errors(path.held_scores, labels))
        rows["planted"].append(float(wrong.sum()))
    low = min(rows["auroc"])
    return {name: mean(values) for name, values in rows.items()} | {"worst": low}


def main() -> None:
    """Measure every set at 5 and 20 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=SETS)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--cache", help="a folder that keeps features between runs")
    chosen = parser.parse_args()
    if chosen.cache:
        os.environ["HEADSTART_CACHE"] = chosen.cache
    torch.set_num_threads(1)
    lines = []
    weights = str(test_data() / WEIGHTS) if chosen.backbone == "resnet18" else None
    with spending() as spent:
        backbone = load_backbone(chosen.backbone, weights=weights)
        for name in chosen.sets.split(","):
            session = Session()
            dataset = session.dataset(test_data() / name)
            features = session.features(session.feature_job(dataset, backbone)).features
            view = features.view(np.arange(len(dataset)), backbone.spec.choose_stages("auto"))
            data = LabelledFeatures.of(view, dataset.labels, len(dataset.classes), groups=dataset.groups())
            for share in (0.05, 0.2):
                found = measure(data, share)
                goal = GOALS.get((name, share))
                lines.append(
                    Line(
                        name=f"{name}-{share:g}",
                        what=f"{name}, {len(dataset)} images, {share:.0%} planted",
                        value=found["auroc"],
                        shown=f"AUROC {found['auroc']:.4f} (worst draw {found['worst']:.4f})",
                        goal="" if goal is None else at_least(found["auroc"], goal)[0],
                        verdict="" if goal is None else at_least(found["auroc"], goal)[1],
                        note=f"precision {found['precision']:.2f}; in-sample AUROC {found['in-sample']:.4f}; expected "
                        f"{found['expected']:.0f} errors, planted {found['planted']:.0f}",
                    )
                )
                show(lines[-1:])
    show(lines)
    write("label-errors", lines, hardware=hardware(), backbone=chosen.backbone, draws=DRAWS, cpu_seconds=spent.cpu)


if __name__ == "__main__":
    main()
