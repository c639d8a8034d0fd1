"""Are as many familiar images rejected as stated, what is noticed and what is not, and do prediction sets hold?

HEADSTART_TEST_DATA=… python benchmarks/trust.py [--backbones NAME …] [--only SET …] [--splits 5]

Features come from the cache, so that only the first run computes any. Nothing is chosen on images that are reported.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import headstart as hs
from headstart.backbones.backbone import Backbone, load_backbone
from headstart.classifier.familiarity import fit_familiarity
from headstart.classifier.trust_evaluation import leave_classes_out, notice
from headstart.data.dataset import Dataset
from headstart.evaluation.conformal import measure_sets
from headstart.evaluation.intervals import Interval
from headstart.features.matrix import Features
from headstart.heads.linear_probe import TrainingRows, fit_linear_probe
from headstart.workbench.fit_trust import TrustInput, familiar_images, fit_trust
from record import Line, show, test_data, write

SETS = (
    "hymenoptera",
    "rps_photos",
    "rps28",
    "textures10",
    "scenes100",
    "plant_seedlings",
    "blood_cells",
    "solar_cells",
)
FOREIGN = (*SETS, "cifar10_sample")
BACKBONES = ("mobilenet_v2_035", "efficientnet_lite0")
WEIGHTS = {"mobilenet_v2_035": "mobilenet_v2_035_imagenet_features.safetensors"}
GOAL = (0.035, 0.075)  # of false rejects at a stated 5 %, pooled over all splits
_MOST_FOREIGN = 200  # images of each other set


@dataclass(frozen=True, eq=False)
class Images:
    """A set with its own split and its features."""

    name: str
    dataset: Dataset
    features: Features
    stage: str

    @property
    def rows(self) -> np.ndarray:
        """At most 200 images, evenly: what other classifiers see of it."""
        return np.arange(len(self.dataset))[:: max(1, len(self.dataset) // _MOST_FOREIGN)][:_MOST_FOREIGN]


def load(name: str, backbone: Backbone, data: Path, session: hs.Session) -> Images:
    """A set's images, split as its folders say, else at random."""
    dataset = session.dataset(data / name)
    if name in SETS:
        dataset = dataset.with_split(0.2, 0)
    features = session.features(session.feature_job(dataset, backbone)).features
    return Images(name, dataset, features, backbone.spec.stages[-1].name)


def false_rejects(images: Images, splits: int, *, bank: bool) -> tuple[int, int, int]:
    """Rejected, asked, splits: random splits of whole groups, three quarters of them to be familiar with."""
    rejected = asked = done = 0
    everything = familiar_images(_given(images), np.arange(len(images.dataset)))
    groups = np.unique(everything.groups)
    for seed in range(splits):
        held = np.isin(everything.groups, np.random.default_rng(seed).permutation(groups)[: len(groups) // 4])
        found = fit_familiarity(everything.take(np.flatnonzero(~held)), stage=images.stage, bank=bank)
        if found.threshold is None:
            continue
        beyond = found.measure(everything.features[held]).distances > found.threshold
        rejected, asked, done = rejected + int(beyond.sum()), asked + len(beyond), done + 1
    return rejected, asked, done


def measure(images: Images, others: Sequence[Images], backbone: Backbone) -> Mapping[str, str]:
    """One row of the table: on the set's own split."""
    dataset, given = images.dataset, _given(images)
    train, test = dataset.indices("train"), dataset.indices("test")
    rows = TrainingRows(
        rows=train,
        labels=dataset.labels[train],
        groups=dataset.groups()[train],
        classes=len(dataset.classes),
        validation_rows=train[:0],
        validation_labels=dataset.labels[:0],
    )
    stages = backbone.spec.choose_stages("auto")
    probe = fit_linear_probe(images.features, rows, layers={"auto": stages})
    trust = fit_trust(replace(given, probe=probe), hs.Recipe())
    groups = [str(group) for group in dataset.groups()[test]]
    row = {"set": images.name, "training images (groups)": f"{len(train):,} ({len(np.unique(rows.groups)):,})"}
    familiarity = trust.familiarity
    if familiarity is not None and familiarity.threshold is not None:
        own = notice(familiarity, {"test": images.features[images.stage][test]}, groups)[0].share
        foreign = [
            notice(familiarity, {one.name: one.features[one.stage][one.rows]})[0]
            for one in others
            if _unlike(one.name, images.name)
        ]
        worst = min(foreign, key=lambda one: one.share.value)
        mean = np.mean([one.share.value for one in foreign])
        left = leave_classes_out(familiar_images(given, train), dataset.classes, rate=0.05)
        shares = [one.share.value for one in left]
        row |= {
            "false rejects": _text(own),
            "other sets noticed": f"{mean:.1%} (least: {worst.name} {_text(worst.share)})",
            "class left out noticed": f"{np.mean(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"
            if left
            else "-",
        }
    else:
        row |= {"false rejects": "no threshold"}
    if trust.conformal is not None:
        p = probe.head.probabilities_of(images.features.view(test, stages))
        sets = measure_sets(trust.conformal, p, dataset.labels[test], groups=groups)
        row |= {
            "coverage (95 % stated)": f"{_text(sets.coverage)}",
            "band": f"{sets.band.low:.1%} to {sets.band.high:.1%}",
            "mean size": f"{sets.mean_size:.2f} of {len(dataset.classes)}",
        }
    return row


def _unlike(one: str, other: str) -> bool:
    """Hands are not foreign to hands."""
    return one != other and not {one, other} <= {"rps_photos", "rps28"}


def _given(images: Images) -> TrustInput:
    return TrustInput(dataset=images.dataset, features=images.features, stage=images.stage, probe=None)  # type: ignore[arg-type]


def _text(interval: Interval) -> str:
    return f"{interval.value:.1%} [{interval.low * 100:.1f}, {interval.high * 100:.1f}]"


def _pooled(counts: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    rejected, asked, splits = (sum(column) for column in zip(*counts, strict=True))
    return rejected, asked, splits


def main() -> None:
    """Measure, print the tables, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="*", default=BACKBONES)
    parser.add_argument("--only", nargs="*", default=SETS)
    parser.add_argument("--splits", type=int, default=5)
    chosen, data = parser.parse_args(), test_data()
    lines, tables = [], {}
    for name in chosen.backbones:
        file = WEIGHTS.get(name)
        backbone = load_backbone(name, weights=None if file is None else str(data / "weights" / file), offline=True)
        session = hs.Session(on_event=None)
        wanted = {one: load(one, backbone, data, session) for one in FOREIGN}
        for bank in (True, False):
            kind = "bank" if bank else "no bank"
            counts = {one: false_rejects(wanted[one], chosen.splits, bank=bank) for one in chosen.only}
            for one, (rejected, asked, splits) in counts.items():
                print(f"{name} {kind} {one}: {rejected} of {asked} rejected in {splits} splits", flush=True)
            rejected, asked, splits = _pooled(list(counts.values()))
            share = rejected / max(asked, 1)
            met = "met" if GOAL[0] <= share <= GOAL[1] else "missed"
            lines.append(
                Line(
                    name=f"{name} {kind}",
                    what=f"false rejects at a stated 5 %, {name}, {kind}",
                    value=share,
                    shown=f"{share:.2%} of {asked:,}",
                    goal="3.5 to 7.5 %",
                    verdict=met,
                    note=f"{splits} random splits of whole groups, {sum(one[2] > 0 for one in counts.values())} sets",
                )
            )
        tables[name] = [measure(wanted[one], list(wanted.values()), backbone) for one in chosen.only]
        for row in tables[name]:
            print(row, flush=True)
    show(lines)
    write("trust", lines, tables=tables)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
