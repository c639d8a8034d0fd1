"""Does the advice hold? The ranking of backbones against full training, and the bands of learning curves against truth.

Everything is chosen on training images; what comes true is measured on the `val` part, once. Features are cached.
HEADSTART_TEST_DATA=… python benchmarks/advice.py [--only backbones widen curves label augment] [--draws 10]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import softmax
from scipy.stats import spearmanr

import headstart as hs
from headstart.advice import curve_fit
from headstart.advice.backbones import RUNGS, Measured, NetworkCost, advised, fit_layers, rank_networks, survivors
from headstart.advice.learning_curve import Heads, measure_errors
from headstart.advice.nested import beginning, nested_order
from headstart.advice.next_to_label import choose_to_label
from headstart.data.dataset import Dataset
from headstart.evaluation.calibration import fit_temperature
from headstart.evaluation.intervals import mean_interval, points, wilson
from headstart.features.matrix import Features, FeatureView
from headstart.heads.regularization_path import LabelledFeatures, RegularizationPath
from headstart.heads.ridge import solve_ridge
from headstart.workbench.advise import single_image_ms
from headstart.workbench.session import Session
from headstart.workbench.starting_point import choose_backbone
from headstart.workbench.training_plan import layer_choices
from machine import hardware

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from drawn_arrows import draw_arrows
from record import Line, at_least, show, test_data, write

SETS = ("plant_seedlings", "scenes100", "solar_cells", "blood_cells", "textures10", "hymenoptera")
FILES = {
    "resnet18": "resnet18_imagenet",
    "squeezenet1_0": "squeezenet1_0_imagenet",
    "mobilenet_v2_035": "mobilenet_v2_035_imagenet_features",
}
# name and size, 0: that of its weights
NETWORKS = (
    ("embedded", 0),
    ("embedded", 160),
    ("mobilenet_v2_035", 0),
    ("squeezenet1_0", 0),
    ("efficientnet_lite0", 160),
    ("efficientnet_lite0", 0),
    ("efficientnet_lite0", 288),
    ("efficientnet_lite2", 0),
    ("resnet18", 160),
    ("resnet18", 0),
)
CURVE_NETWORKS = (("efficientnet_lite0", 0), ("embedded", 0))


MILLISECONDS: dict[tuple[str, int], float] = {}
"""Latency of each network here, as `advise` measures it."""


@dataclass(frozen=True)
class Table:
    """Features of all images of a set by one network, with the stages of `--layers`."""

    dataset: Dataset
    features: Features
    layers: dict[str, tuple[str, ...]]

    def rows(self, split: str) -> np.ndarray:
        """Indices of a split."""
        return self.dataset.indices(split)


def load(name: str, size: int, each: str, data: Path) -> Table:
    """Features of a set, from the cache where they are there."""
    weights = str(data / "weights" / f"{FILES[name]}.safetensors") if name in FILES else None
    session = Session(None, {"backbone": name, "size": size, "weights": weights, "offline": True})
    dataset = session.dataset(data / each).with_split(0.2, 0)
    backbone = choose_backbone(session).backbone
    if (name, size) not in MILLISECONDS:  # once, on a machine that may do other things meanwhile
        MILLISECONDS[name, size] = single_image_ms(backbone, backbone.preprocess.crop)
    job = session.feature_job(dataset, backbone)
    return Table(dataset, session.features(job).features, layer_choices(backbone, "auto"))


def right_on_test(table: Table, stages: tuple[str, ...]) -> np.ndarray:
    """Whether each test image is named rightly by a head trained on all training images as `train` does it."""
    train, test, labels = table.rows("train"), table.rows("test"), table.dataset.labels
    data = LabelledFeatures.of(
        table.features.view(train, stages),
        labels[train],
        len(table.dataset.classes),
        groups=table.dataset.groups()[train],
    )
    path = solve_ridge(data)
    scores = table.features.view(test, stages).array() @ path.weight + path.bias
    right: np.ndarray = scores.argmax(axis=1) == labels[test]
    return right


def highest_correlation(right: np.ndarray, *, halvings: int = 200) -> float:
    """The rank correlation that a perfect order would have with accuracies measured on as few images as these.

    Two halves of the test images order the candidates; their correlation r, stepped up to all images by Spearman and
    Brown (1910: 2r / (1 + r)), is the reliability of what is measured, and its root bounds any correlation with it
    (Spearman 1904). Negative means of r count as 0.

    Args:
        right: candidates × test images.
    """
    rng, found = np.random.default_rng(0), []
    for _ in range(halvings):
        order = rng.permutation(right.shape[1])
        halves = np.array_split(order, 2)
        first, second = (right[:, half].mean(axis=1) for half in halves)
        if np.ptp(first) > 0 and np.ptp(second) > 0:  # else there is no order to correlate
            found.append(spearmanr(first, second).statistic)
    half = max(0.0, float(np.mean(found)))
    return float(np.sqrt(2 * half / (1 + half)))


def backbones(data: Path, _: int) -> list[Line]:
    """Rank correlation of the advice with the accuracy after training on all images, and what its choice costs."""
    lines, correlations, highest, regrets, scores, over_sets = [], [], [], [], [], []
    for each in SETS:
        tables = {(name, size): load(name, size, each, data) for name, size in NETWORKS}
        ranked, chosen = _advise(tables)
        right = {
            (one.network.backbone, one.network.size): right_on_test(
                tables[one.network.backbone, one.network.size], one.fit.stages
            )
            for one in ranked
        }
        truth = {key: float(values.mean()) for key, values in right.items()}
        highest.append(highest_correlation(np.array(list(right.values()))))
        found = [truth[one.network.backbone, one.network.size] for one in ranked]
        correlation = float(spearmanr(-np.arange(len(found)), found).statistic)
        best, taken = max(found), truth[chosen.network.backbone, chosen.network.size]
        test = len(next(iter(tables.values())).rows("test"))
        interval = wilson(round(taken * test), test)
        correlations.append(correlation)
        regrets.append(best - taken)
        own = _scores(tables)
        order = [(name, size) for name, size in NETWORKS]
        over_sets.append(([own[key]["squared error"] for key in order], [truth[key] for key in order]))
        scores.append({n: spearmanr([own[k][n] for k in order], [truth[k] for k in order]).statistic for n in _SCORES})
        note = "; ".join(f"{one.network.title} {value:.3f}" for one, value in zip(ranked, found, strict=True))
        what = f"{each}: takes {chosen.network.title}, {interval}, best {best:.3f}"
        shown = f"rank correlation {correlation:.2f}, of a perfect order {highest[-1]:.2f}"
        lines.append(Line(each, what, correlation, shown, note=note))
        print(lines[-1].what, lines[-1].shown, note, flush=True)
    mean = float(np.mean(correlations))
    close = sum(regret <= 0.01 + 1e-9 for regret in regrets)
    lines.append(Line("correlation", "mean rank correlation", mean, f"{mean:.2f}", *at_least(mean, 0.8)))
    bound = float(np.mean(highest))
    lines.append(Line("highest", "the same of a perfect order, by halves of `val`", bound, f"{bound:.2f}"))
    for name in _SCORES:
        each = [float(one[name]) for one in scores]
        note = ", ".join(f"{value:.2f}" for value in each)
        mean = float(np.mean(each))
        lines.append(Line(name, f"mean rank correlation of {name}, on all images", mean, f"{mean:.2f}", note=note))
    predicted, measured = (np.mean([one[part] for one in over_sets], axis=0) for part in (0, 1))
    together = float(spearmanr(predicted, measured).statistic)
    what = "rank correlation of the means over the sets"
    lines.append(Line("together", what, together, f"{together:.2f}", *at_least(together, 0.8)))
    what = f"sets where its choice is within 1 point of the best, of {len(SETS)}"
    lines.append(Line("regret", what, close, str(close), *at_least(close, 0.8 * len(SETS))))
    return lines


_SCORES = ("squared error", "accuracy", "LogME", "H-score")


def _scores(tables: dict[tuple[str, int], Table]) -> dict[tuple[str, int], dict[str, float]]:
    """Scores of each network at its default stages on all training images; more is better."""
    found = {}
    for key, table in tables.items():
        train, dataset = table.rows("train"), table.dataset
        view = table.features.of_stages(table.layers["auto"])
        names = tuple(map(str, train))
        features = Features(view.matrix[train], view.slices, names, names)
        labels, groups = dataset.labels[train], dataset.groups()[train]
        (fit,) = fit_layers(
            features, labels, groups, classes=len(dataset.classes), layers={"auto": table.layers["auto"]}
        )
        values = (-fit.squared_error, fit.accuracy.value, fit.logme, fit.h_score)
        found[key] = dict(zip(_SCORES, values, strict=True))
    return found


def _advise(tables: dict[tuple[str, int], Table]) -> tuple[list, object]:
    """What the verb does, on features that are there."""
    first = next(iter(tables.values())).dataset
    train = first.indices("train")
    labels, all_groups = first.labels[train], first.groups()[train]
    order = nested_order(labels, all_groups, seed=0)
    counts = sorted({min(count, len(train)) for count in RUNGS})
    measured = {
        (name, size): Measured(
            cost=NetworkCost(
                backbone=name, size=size, side=size, milliseconds=MILLISECONDS[name, size], megabytes=0, licence=""
            ),
            rounds=(),
        )
        for name, size in NETWORKS
    }
    groups, live = [], list(measured)
    for number, count in enumerate(counts, 1):
        rows = beginning(order, all_groups, count)
        groups.append(all_groups[rows])
        for key in live:
            table = tables[key]
            taken = [int(train[i]) for i in rows]
            features = Features(
                table.features.matrix[taken], table.features.slices, tuple(map(str, taken)), tuple(map(str, taken))
            )
            fits = fit_layers(features, labels[rows], groups[-1], classes=len(first.classes), layers=table.layers)
            measured[key] = measured[key].with_round(fits)
        if number < len(counts):
            kept = survivors([measured[key] for key in live], groups[-1])
            live = [key for key in live if measured[key] in kept]
    is_few = len(order) < 20 * len(first.classes)
    ranked = rank_networks(list(measured.values()), groups, is_few=is_few)
    return ranked, advised(ranked)


def _truth(view: FeatureView, labels: np.ndarray, groups: np.ndarray, split: tuple[np.ndarray, np.ndarray]) -> float:
    """Error on some rows of a head trained on others."""
    train, test = split
    path = solve_ridge(
        LabelledFeatures.of(view.take(train), labels[train], int(labels.max()) + 1, groups=groups[train])
    )
    return float(((view.take(test).array() @ path.weight + path.bias).argmax(axis=1) != labels[test]).mean())


def _trials(
    data: Path, draws: int, *, on_val: bool
) -> Iterator[tuple[str, float, float, curve_fit.Forecast, float, int]]:
    """(set, share, error now, forecast, truth, images the truth was measured on) of each draw.

    The user's folder is a half or a quarter of the images for training; the truth is the error after training on all
    of them, on `val` or, to choose the width of the band, on a quarter of the training images that nothing else sees.
    """
    for name, size in CURVE_NETWORKS:
        for each in SETS:
            table = load(name, size, each, data)
            dataset, stages = table.dataset, table.layers["auto"]
            train, test = table.rows("train"), table.rows("test")
            everything = np.concatenate([train, test])
            view = table.features.view(everything, stages)
            labels, groups = dataset.labels[everything], dataset.groups()[everything]
            inside = np.arange(len(train))
            for draw in range(draws):
                order = nested_order(labels[inside], groups[inside], seed=1000 + draw)
                pool = order if on_val else beginning(order, groups[inside], round(0.75 * len(order)))
                held = np.arange(len(train), len(everything)) if on_val else np.setdiff1d(inside, pool)
                truth = _truth(view, labels, groups, (pool, held))
                for share in (0.5, 0.25):
                    own = beginning(pool, groups, round(share * len(pool)))
                    heads = Heads(view.take(own), labels[own], groups[own], len(dataset.classes))
                    sizes, samples = measure_errors(heads, seed=draw)
                    (found,) = curve_fit.forecast(sizes, samples, [len(pool)], seed=draw)
                    yield each, share, float(samples[0, -1]), found, truth, len(held)
            print(f"{name} on {each}: {draws} draws", flush=True)


def _covered(found: curve_fit.Forecast, truth: float, n: int, widen: float) -> bool:
    """Whether a band, at another width, holds the truth, which is itself measured on n images."""
    noise = 1.645 * np.sqrt(max(found.error * (1 - found.error), 1 / n) / n)
    down = (found.error - found.low) * widen / curve_fit.WIDEN
    up = (found.high - found.error) * widen / curve_fit.WIDEN
    side = up if truth > found.error else down
    return bool(abs(truth - found.error) <= np.hypot(side, noise) + 1e-12)


def widen(data: Path, draws: int) -> list[Line]:
    """Coverage on training images alone, by the factor that widens the band: what `curve_fit.WIDEN` was chosen by."""
    trials = list(_trials(data, draws, on_val=False))
    lines = []
    for factor in (0.0, 0.7, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5):
        hits = [_covered(found, truth, n, factor) for _, _, _, found, truth, n in trials]
        share = wilson(sum(hits), len(hits))
        by_share = {
            part: np.mean([hit for hit, one in zip(hits, trials, strict=True) if one[1] == part])
            for part in (0.5, 0.25)
        }
        note = f"2 times as many images {by_share[0.5]:.2f}, 4 times {by_share[0.25]:.2f}"
        lines.append(Line(f"widen {factor}", f"band times {factor:g}", share.value, str(share), note=note))
    return lines


def curves(data: Path, draws: int) -> list[Line]:
    """Coverage and error of the forecasts, the truth on `val`."""
    trials = list(_trials(data, draws, on_val=True))
    lines = []
    for each in (*SETS, ""):
        some = [one for one in trials if each in ("", one[0])]
        hits = [_covered(found, truth, n, curve_fit.WIDEN) for _, _, _, found, truth, n in some]
        share = wilson(sum(hits), len(hits))
        off = float(np.mean([abs(found.error - truth) for _, _, _, found, truth, _ in some]))
        now = float(np.mean([abs(before - truth) for _, _, before, _, truth, _ in some]))
        wide = float(np.mean([found.high - found.low for _, _, _, found, _, _ in some]))
        note = f"mean |forecast - truth| {off:.3f}, of today's error {now:.3f}; mean width of the band {wide:.3f}"
        goal = at_least(share.value, 0.9) if not each else ("", "")
        lines.append(
            Line(f"curve {each}", f"{each or 'all sets'}: truth in the 90 % band", share.value, str(share), *goal, note)
        )
    return lines


def label(data: Path, draws: int) -> list[Line]:
    """Accuracy on `val` after labelling a fifth of the training images more: those advised, or as many at random."""
    lines, gains = [], []
    for each in SETS:
        table = load("efficientnet_lite0", 0, each, data)
        dataset, stages = table.dataset, table.layers["auto"]
        train, test = table.rows("train"), table.rows("test")
        own = []
        for draw in range(draws):
            order = train[nested_order(dataset.labels[train], dataset.groups()[train], seed=2000 + draw)]
            known, pool = order[: len(order) // 4], order[len(order) // 4 :]
            count = len(order) // 5
            path = _solved(table, known)
            view = table.features.view(pool, stages)
            scores = view.array() @ path.weight + path.bias
            probabilities = softmax(scores / fit_temperature(path.held_scores, path.held_labels).value, axis=1)
            chosen = pool[[one.index for one in choose_to_label(view.array(), probabilities, count=count)]]
            random = np.random.default_rng(draw).permutation(pool)[:count]
            right = []
            for more in (chosen, random):
                after = _solved(table, np.concatenate([known, more]))
                found = table.features.view(test, stages).array() @ after.weight + after.bias
                right.append(float((found.argmax(axis=1) == dataset.labels[test]).mean()))
            own.append(right[0] - right[1])
        gains.append(float(np.mean(own)))
        shown = f"{gains[-1] * 100:+.1f} points"
        lines.append(Line(f"label {each}", f"{each}: advised minus random, mean of {draws} draws", gains[-1], shown))
        print(lines[-1].what, shown, flush=True)
    mean = mean_interval(np.array(gains))
    lines.append(Line("label", "mean over the sets", mean.value, points(mean)))
    return lines


def _solved(table: Table, rows: np.ndarray) -> RegularizationPath:
    data = LabelledFeatures.of(
        table.features.view(rows, table.layers["auto"]),
        table.dataset.labels[rows],
        len(table.dataset.classes),
        groups=table.dataset.groups()[rows],
    )
    return solve_ridge(data)


def augment(data: Path, _: int) -> list[Line]:
    """Verdicts on four transforms, for real sets and for drawn arrows, where flips exchange the classes."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        arrows = draw_arrows(Path(folder) / "arrows", 60)
        for source in (*(data / each for each in SETS), data / "rps_photos", arrows):
            advice = hs.advise_augment(
                source, backbone="efficientnet_lite0", transforms=FLIPS, most=120, offline=True, on_event=None
            )
            verdicts = {check.name: check.verdict for check in advice.checks}
            note = "; ".join(f"{check.name}: {check.reason}" for check in advice.checks)
            found = ", ".join(verdicts.values())
            unsafe = float(sum(verdict == "unsafe" for verdict in verdicts.values()))
            lines.append(Line(f"augment {source.name}", f"{source.name}: {', '.join(FLIPS)}", unsafe, found, note=note))
            print(lines[-1].what, found, note, flush=True)
    return lines


FLIPS = ("horizontal-flip", "vertical-flip", "rotate-180", "grey")
PARTS = {"backbones": backbones, "widen": widen, "curves": curves, "label": label, "augment": augment}


def main() -> None:
    """Measure, print a table, write a results file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", default=tuple(PARTS), choices=PARTS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    if options.cache:
        os.environ["HEADSTART_CACHE"] = str(options.cache)
    lines = [line for name in options.only for line in PARTS[name](test_data(), options.draws)]
    show(lines)
    write("advice", lines, **hardware())


if __name__ == "__main__":
    main()
