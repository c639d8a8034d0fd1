"""How accurate is headstart on real images? Every number comes from the public verbs, on images not used for choices.

HEADSTART_TEST_DATA=… python benchmarks/accuracy.py [--only NAME …] [--cache FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats

import headstart as hs
from headstart.backbones.backbone import load_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.spec import IMAGENET_MEAN, IMAGENET_STD
from headstart.data.batches import pixel_batches
from headstart.data.images import ImageRules
from headstart.datasets.hands import draw_hands
from headstart.evaluation.intervals import Interval, wilson
from headstart.workbench.run import Run
from machine import hardware
from record import Line, at_least, show, test_data, write

ANT, BEE = 310, 309  # ImageNet's indices
SEEDS = range(5)
PER_CLASS = 10


@dataclass(frozen=True)
class Place:
    """Where the real data is, and a temporary folder for runs."""

    data: Path
    work: Path

    def weights(self, name: str) -> str:
        """Path of a weight file."""
        return str(self.data / "weights" / f"{name}.safetensors")

    def train(self, source: Path, backbone: str, weights: str | None, **knobs: object) -> Run:
        """One quiet run into the folder for runs."""
        given = self.weights(weights) if weights else None
        name = f"{source.stem}-{backbone}"
        return hs.train(  # type: ignore[no-any-return,operator]  # the front door resolves its names when used
            source, out=self.work / name, on_event=quiet, backbone=backbone, weights=given, offline=True, **knobs
        )


def quiet(event: object) -> None:
    """Tells nothing."""


def measured(name: str, what: str, share: Interval, least: float | None, note: str = "") -> Line:
    """A line for an accuracy with its 95 % interval, against the least it should be."""
    goal, verdict = at_least(round(share.value, 4), least) if least is not None else ("", "")
    return Line(name, what, share.value, shares(share), goal, verdict, note)


def contains(name: str, what: str, share: Interval, reference: float, note: str = "") -> Line:
    """A line for a share whose interval should hold a reference value."""
    word = "met" if share.low <= reference <= share.high else "missed"
    verdict = f"{word}, {share.value - reference:+.3f} from it"
    return Line(name, what, share.value, shares(share), f"interval holds {reference:g}", verdict, note)


def shares(share: Interval) -> str:
    """`0.948 [0.900, 0.973] n 153`."""
    return f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}] n {share.n}"


def ants_and_bees(place: Place) -> Iterator[Line]:
    """The last stage alone and the default, with two pretrained networks."""
    references = {"resnet18": 0.935, "squeezenet1_0": 0.941}
    for backbone, reference in references.items():
        for layers, least, by_reference in (("pooled", 0.92, reference), ("auto", 0.94, 0.948)):
            run = place.train(place.data / "hymenoptera", backbone, f"{backbone}_imagenet", layers=layers)
            what = f"hymenoptera, {backbone}, layers {layers}"
            knn = next(one for one in run.evaluation.baselines if one.name == "kNN")
            note = f"reference {by_reference:.3f}; kNN {knn.accuracy.value:.3f}"
            yield measured("hymenoptera", what, run.evaluation.accuracy, least, note)


def imagenet_head(place: Place) -> Iterator[Line]:
    """What resnet18's own 1000-way head predicts for the validation photographs."""
    folder = place.data / "hymenoptera" / "val"
    paths = sorted(folder.glob("*/*"))
    answers = own_answers("resnet18", place.weights("resnet18_imagenet"), paths)
    truth = np.array([ANT if path.parent.name == "ants" else BEE for path in paths])
    share = wilson(int((answers == truth).sum()), len(paths))
    yield contains("imagenet-head", "hymenoptera val, resnet18's own 1000-way head", share, 0.75)


def cifar_heads(place: Place) -> Iterator[Line]:
    """What the CIFAR networks' own tops call 500 CIFAR-10 test images."""
    paths = sorted((place.data / "cifar10_sample" / "test").glob("*/*"))
    names = sorted({path.parent.name for path in paths})
    truth = np.array([names.index(path.parent.name) for path in paths])
    for layers, reference in ((20, 0.81), (56, 0.83)):
        answers = own_answers(f"cifar_resnet{layers}", place.weights(f"cifar10_resnet{layers}"), paths)
        share = wilson(int((answers == truth).sum()), len(paths))
        yield contains("cifar-heads", f"cifar10_sample, cifar_resnet{layers}'s own head", share, reference)


def own_answers(backbone: str, weights: str, paths: Sequence[Path]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Index of the network's own most probable class for each image."""
    network = load_backbone(backbone, weights=weights, offline=True)
    batches = pixel_batches(paths, network.preprocess.prepare, rules=ImageRules(), batch_size=32, workers=2)
    rows = [network.pretrained_logits(network.preprocess.normalise(batch.pixels)).argmax(1) for batch in batches]
    return torch.cat(rows).numpy()


def own_card(place: Place) -> Iterator[Line]:
    """mobilenet_v2_035 with its own mean and std, then with ImageNet's: replaced in code, no option can do it."""
    folder, backbone, weights = place.data / "hymenoptera", "mobilenet_v2_035", "mobilenet_v2_035_imagenet_features"
    run = place.train(folder, backbone, weights)
    what = "hymenoptera, mobilenet_v2_035 at 225 px"
    yield measured("own-card", f"{what}, its own mean/std", run.evaluation.accuracy, 0.91, "reference 0.922")
    correct = run.evaluation.accuracy.value
    with imagenet_card(backbone):
        both = place.train(folder, backbone, weights, accept_preprocessing=True).evaluation.accuracy
    yield worse("own-card", f"{what}, ImageNet's mean/std in training and test", both, correct)
    classifier = run.classifier
    classifier.backbone.preprocess = dataclasses.replace(
        classifier.backbone.preprocess, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    wrong = hs.evaluate(classifier, folder, on_event=quiet).evaluation.accuracy  # type: ignore[operator]
    yield worse("own-card", f"{what}, ImageNet's mean/std in the test alone", wrong, correct)


@contextmanager
def imagenet_card(backbone: str) -> Iterator[None]:
    """The backbone's row states ImageNet's mean and std here; put back afterwards."""
    row = SPECS[backbone]
    SPECS[backbone] = dataclasses.replace(row, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    try:
        yield
    finally:
        SPECS[backbone] = row


def worse(name: str, what: str, share: Interval, correct: float) -> Line:
    """A line that should fall below the accuracy with the correct card."""
    word = "met" if share.value < correct else "missed"
    return Line(name, what, share.value, shares(share), f"below {correct:.3f}", f"{word}, {share.value - correct:+.3f}")


def small_hands(place: Place) -> Iterator[Line]:
    """rps28: bursts of hands, where leaving out one image at a time is fooled and leaving out one hand is not."""
    cases: tuple[tuple[str, dict[str, str], float | None, str], ...] = (
        ("layers auto", {}, 0.80, "reference 0.815 on the last stage"),
        ("layers all", {"layers": "all"}, 0.80, "reference 0.828"),
        ("layers all, group_by none", {"layers": "all", "group_by": "none"}, None, "plain leave-one-out"),
    )
    for words, knobs, least, note in cases:
        run = place.train(place.data / "rps28", "cifar_resnet20", "cifar10_resnet20", **knobs)
        head = run.record["head"]
        claim = f"held-out says {head['held_out_accuracy']:.3f} ({head['held_out']})"
        over = run.evaluation.accuracy_over_groups
        spread = f"; over groups [{over.low:.3f}, {over.high:.3f}]" if over is not None else ""
        accuracy = run.evaluation.accuracy
        yield measured("rps28", f"rps28, cifar_resnet20, {words}", accuracy, least, f"{note}; {claim}{spread}")


def few_photos(place: Place) -> Iterator[Line]:
    """Ten photographs of a class to learn from: pretrained against random weights, five draws of them."""
    scores: dict[str, list[Interval]] = {"resnet18": [], "random": []}
    for seed in SEEDS:
        table = few_table(place, seed)
        for backbone, found in scores.items():
            weights = "resnet18_imagenet" if backbone == "resnet18" else None
            found.append(place.train(table, backbone, weights, seed=seed).evaluation.accuracy)
    values = {backbone: [share.value for share in found] for backbone, found in scores.items()}
    for backbone, found in scores.items():
        low, high = min(share.low for share in found), max(share.high for share in found)
        note = f"Wilson of single draws, n {found[0].n}: from {low:.3f} to {high:.3f}"
        yield over_seeds(f"rps_photos, {PER_CLASS} a class, {backbone}", values[backbone], note)
    difference = [a - b for a, b in zip(values["resnet18"], values["random"], strict=True)]
    yield over_seeds("  pretrained minus random, same photographs", difference)


def few_table(place: Place, seed: int) -> Path:
    """A table of ten training photographs of each class, drawn from the seed, and all test photographs."""
    root, rng = place.data / "rps_photos", np.random.default_rng(seed)
    rows = [(path, path.parent.name, "test") for path in sorted(root.glob("test/*/*"))]
    for folder in sorted((root / "train").iterdir()):
        chosen = rng.choice(sorted(folder.iterdir()), PER_CLASS, replace=False)
        rows += [(path, folder.name, "train") for path in chosen]
    table = place.work / f"few-{seed}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return table


def over_seeds(what: str, found: Sequence[float], note: str = "") -> Line:
    """Mean with its 95 % interval (Student's t over the draws; the test photographs are the same in all)."""
    mean, n = float(np.mean(found)), len(found)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(found, ddof=1) / np.sqrt(n))
    shown = f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}] {n} seeds"
    each = " ".join(f"{value:.3f}" for value in found)
    return Line("few-photos", what, mean, shown, note=f"{each}; {note}" if note else each)


def drawn_hands(place: Place) -> Iterator[Line]:
    """Learn from drawings, then face photographs: no goal, the honest number of a domain shift."""
    folder = draw_hands(place.work / "hands")
    run = place.train(folder, "resnet18", "resnet18_imagenet")
    yield measured("drawn-hands", "drawn hands → other drawn hands, resnet18", run.evaluation.accuracy, None)
    for name in ("rps_photos", "rps28"):
        found = hs.evaluate(run.folder, place.data / name, on_event=quiet).evaluation  # type: ignore[operator]
        knn = next(one for one in found.baselines if one.name == "kNN")
        worst = f"worst class {found.worst_class.name} {found.worst_class.recall.value:.2f}"
        note = (
            f"domain shift; chance 0.33; kNN {knn.accuracy.value:.3f}; {worst}; ECE {found.calibration.ece.value:.2f}"
        )
        yield measured("drawn-hands", f"drawn hands → {name}, its test split", found.accuracy, None, note)


CASES: dict[str, Callable[[Place], Iterator[Line]]] = {
    "hymenoptera": ants_and_bees,
    "imagenet-head": imagenet_head,
    "own-card": own_card,
    "cifar-heads": cifar_heads,
    "rps28": small_hands,
    "few-photos": few_photos,
    "drawn-hands": drawn_hands,
}


def main() -> None:
    """Run the cases asked for, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--cache", type=Path, help="folder for features, kept between runs; default: a temporary one")
    chosen = parser.parse_args()
    data, lines, seconds = test_data(), [], {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEADSTART_CACHE"] = str(chosen.cache or Path(folder) / "cache")
        place = Place(data, Path(folder))
        for name in chosen.only:
            began = time.perf_counter()
            for line in CASES[name](place):
                show_progress(line)
                lines.append(line)
            seconds[name] = round(time.perf_counter() - began, 1)
    show(lines)
    write("accuracy", lines, seconds=seconds, hardware=hardware())


def show_progress(line: Line) -> None:
    """One line as soon as it is measured."""
    print(f"… {line.what}: {line.shown} {line.verdict}", flush=True)


if __name__ == "__main__":
    main()
