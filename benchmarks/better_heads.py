"""What do more stages, a kernel, a second network and a second size bring over ridge on the last two stages?

    HEADSTART_TEST_DATA=… python benchmarks/better_heads.py [--backbones resnet18 …] [--cache FOLDER]

Each network on the five development sets, everything chosen by leave-one-group-out on their training images; their test
images are predicted once. Differences are paired: over the sets (Student's interval of five differences) and over all
test images. Goals of the project: +1.5 points at equal or a tenth more time, +2.5 with everything.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones import FILES, SETS
from headstart.evaluation.intervals import mean_interval
from headstart.heads.linear_probe import TrainingRows, fit_linear_probe
from headstart.workbench.session import Session
from headstart.workbench.starting_point import choose_backbone
from machine import hardware
from record import Line, at_least, show, spending, test_data, write

BACKBONES = ("resnet18", "efficientnet_lite0", "efficientnet_lite2")
SECOND, SIZES = "mobilenet_v2_035", "288,224"
BEFORE = "ridge, last two stages"
# what → (whether the second network is there, sizes, layers, head, goal in points)
CHANGES: dict[str, tuple[bool, str, str, str, float | None]] = {
    BEFORE: (False, "", "last-two", "ridge", None),
    "ridge, last three stages (the default)": (False, "", "last-three", "ridge", 1.5),
    "kernel": (False, "", "last-three", "kernel", 1.5),
    f"with {SECOND}": (True, "", "last-three", "ridge", 1.5),
    f"sizes {SIZES}": (False, SIZES, "last-three", "ridge", None),
    f"with {SECOND}, sizes {SIZES}": (True, SIZES, "last-three", "ridge", 2.5),
    f"with {SECOND}, sizes {SIZES}, kernel": (True, SIZES, "last-three", "kernel", 2.5),
}
Correct = NDArray[np.bool_]


def main() -> None:
    """Measure, print a table, write a results file after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEADSTART_CACHE"] = str(options.cache or f"{folder}/cache")
        for name in options.backbones:
            lines += lines_of(name, {each: measure(test_data(), each, name) for each in SETS})
            write("better_heads", lines, **hardware())
    show(lines)


def measure(data: Path, folder: str, name: str) -> dict[str, tuple[Correct, float]]:
    """On one set, of each change: which test images are correct, and the CPU seconds of the head."""
    found = {}
    for what, (second, sizes, layers, head, _) in CHANGES.items():
        names = [name, SECOND] if second else [name]
        files = [str(data / "weights" / f"{FILES[one]}.safetensors") if one in FILES else "" for one in names]
        recipe = {"backbone": "+".join(names), "sizes": sizes, "offline": True}
        session = Session(None, recipe | ({"weights": ",".join(files)} if any(files) else {}))
        dataset = session.dataset(data / folder).with_split(session.recipe.test_share, session.recipe.seed)
        backbone = choose_backbone(session).backbone
        features = session.features(session.feature_job(dataset, backbone)).features
        train, test, none = dataset.indices("train"), dataset.indices("test"), np.array([], dtype=np.int64)
        rows = TrainingRows(
            rows=train,
            labels=dataset.labels[train],
            groups=dataset.groups()[train],
            classes=len(dataset.classes),
            validation_rows=none,
            validation_labels=none,
        )
        with spending() as spent:
            probe = fit_linear_probe(features, rows, layers={layers: backbone.spec.choose_stages(layers)}, kind=head)
        predicted = probe.head.probabilities_of(features.view(test, probe.head.stages)).argmax(axis=1)
        found[what] = (np.asarray(predicted == dataset.labels[test]), spent.cpu)
        print(f"… {folder}, {name}, {what}: {found[what][0].mean():.3f}", flush=True)
    return found


def lines_of(name: str, found: dict[str, dict[str, tuple[Correct, float]]]) -> list[Line]:
    """The mean accuracy of each change, and its difference from the head of before."""
    lines = []
    for what, (*_, wanted) in CHANGES.items():
        pairs = [(one[what][0], one[BEFORE][0]) for one in found.values()]
        mean = float(np.mean([now.mean() for now, _ in pairs]))
        gains = np.array([100 * (now.mean() - before.mean()) for now, before in pairs])
        sets = mean_interval(gains)
        images = mean_interval(np.concatenate([100.0 * now - 100.0 * before for now, before in pairs]))
        goal, verdict = ("", "") if wanted is None else at_least(sets.value, wanted, " points")
        note = f"over the sets [{sets.low:+.1f}, {sets.high:+.1f}]; over {images.n} images {images.value:+.1f} "
        note += f"[{images.low:+.1f}, {images.high:+.1f}]; head {sum(one[what][1] for one in found.values()):.1f} CPU s"
        shown = f"{mean:.3f}, {sets.value:+.1f} points"
        lines.append(Line(name, f"{name}: {what}", mean, shown, goal, verdict, "" if what == BEFORE else note))
    return lines


if __name__ == "__main__":
    main()
