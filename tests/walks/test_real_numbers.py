"""Whole journeys over real photographs and real weights: the numbers that were promised, in a small version.

The full table is benchmarks/accuracy.py. Skipped with a word where HEADSTART_TEST_DATA is not set.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headstart.backbones.backbone import load_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.spec import IMAGENET_MEAN, IMAGENET_STD
from headstart.data.batches import pixel_batches
from headstart.data.images import ImageRules
from headstart.datasets.hands import draw_hands
from headstart.errors import BackboneError
from headstart.evaluation.intervals import wilson
from headstart.workbench.evaluate import evaluate
from headstart.workbench.run import Run
from headstart.workbench.train import train

ANT, BEE = 310, 309  # ImageNet's indices


def run_on(source: Path, runs: Path, backbone: str, weights: Path | None, **knobs: Any) -> Run:
    """One quiet run without the network."""
    settings = {"backbone": backbone, "weights": weights and str(weights), "offline": True, **knobs}
    return train(source, out=runs / "run", on_event=lambda event: None, **settings)


def weights_of(test_data: Path, name: str) -> Path:
    """A real weight file."""
    return test_data / "weights" / f"{name}.safetensors"


def thinned(root: Path, table: Path, wanted: dict[str, int], seed: int = 0) -> Path:
    """A table of so many images of each class of each part (`train`, `val` or `test`), drawn from the seed."""
    rng, chosen = np.random.default_rng(seed), []
    for part, count in wanted.items():
        for folder in sorted((root / part).iterdir()):
            paths = sorted(folder.iterdir())
            chosen += [paths[i] for i in rng.permutation(len(paths))[:count]]
    return write_table(table, chosen)


def write_table(table: Path, chosen: Sequence[Path]) -> Path:
    """A table of images that lie in PART/CLASS/."""
    rows = [(path, path.parent.name, path.parent.parent.name) for path in chosen]
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return table


def own_answers(backbone: str, weights: Path, paths: Sequence[Path]) -> NDArray[np.int64]:
    """Index of the network's own most probable class for each image."""
    network = load_backbone(backbone, weights=str(weights), offline=True)
    batches = pixel_batches(paths, network.preprocess.prepare, rules=ImageRules(), batch_size=32, workers=2)
    rows = [network.pretrained_logits(network.preprocess.normalise(batch.pixels)).argmax(1) for batch in batches]
    return np.asarray(torch.cat(rows).numpy(), dtype=np.int64)


@pytest.mark.parametrize(("layers", "published"), [(20, 0.81), (56, 0.83)])
@pytest.mark.slow
def test_cifar_networks_name_real_images_as_often_as_their_readme_says(
    test_data: Path, layers: int, published: float
) -> None:
    paths = sorted((test_data / "cifar10_sample" / "test").glob("*/*"))
    names = sorted({path.parent.name for path in paths})
    truth = [names.index(path.parent.name) for path in paths]
    answers = own_answers(f"cifar_resnet{layers}", weights_of(test_data, f"cifar10_resnet{layers}"), paths)
    share = wilson(int((answers == truth).sum()), len(paths))
    assert share.low <= published <= share.high


@pytest.mark.slow
def test_twenty_photographs_of_a_class_tell_ants_from_bees(test_data: Path, tmp_path: Path) -> None:
    table = thinned(test_data / "hymenoptera", tmp_path / "few.csv", {"train": 20, "val": 40})
    run = run_on(table, tmp_path, "resnet18", weights_of(test_data, "resnet18_imagenet"))
    assert run.evaluation.accuracy.n == 80
    assert run.evaluation.accuracy.low > 0.75  # four draws of twenty gave 0.90 to 0.94 on all validation photographs


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "squeezenet1_0"])
def test_ants_and_bees_reach_what_a_reference_ridge_reaches(test_data: Path, tmp_path: Path, backbone: str) -> None:
    weights, folder = weights_of(test_data, f"{backbone}_imagenet"), test_data / "hymenoptera"
    default = run_on(folder, tmp_path, backbone, weights)
    last_stage = run_on(folder, tmp_path, backbone, weights, layers="pooled")
    assert default.evaluation.accuracy.n == last_stage.evaluation.accuracy.n == 153
    assert default.evaluation.accuracy.value >= 0.94
    assert last_stage.evaluation.accuracy.value >= 0.92


@pytest.mark.slow
def test_resnet18_s_own_thousand_classes_name_three_of_four_ants_and_bees(test_data: Path) -> None:
    paths = sorted((test_data / "hymenoptera" / "val").glob("*/*"))
    truth = np.array([ANT if path.parent.name == "ants" else BEE for path in paths])
    answers = own_answers("resnet18", weights_of(test_data, "resnet18_imagenet"), paths)
    assert (answers == truth).mean() == pytest.approx(0.752, abs=0.01)  # by the weights' own README


@pytest.mark.slow
def test_a_wrong_mean_and_std_cost_points_so_the_card_is_what_is_used(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = "mobilenet_v2_035", test_data / "hymenoptera"
    weights = weights_of(test_data, "mobilenet_v2_035_imagenet_features")
    own = run_on(folder, tmp_path, name, weights)
    classifier = own.classifier
    wrong = dataclasses.replace(classifier.backbone.preprocess, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    classifier.backbone.preprocess = wrong
    mismatched = evaluate(classifier, folder, on_event=lambda event: None).evaluation
    monkeypatch.setitem(SPECS, name, dataclasses.replace(SPECS[name], mean=IMAGENET_MEAN, std=IMAGENET_STD))
    with pytest.raises(BackboneError, match="statistics of its first batch norm"):  # and training does not even begin
        run_on(folder, tmp_path, name, weights)
    retrained = run_on(folder, tmp_path, name, weights, accept_preprocessing=True)
    assert own.evaluation.accuracy.value >= 0.91
    assert mismatched.accuracy.value <= own.evaluation.accuracy.value - 0.02
    assert retrained.evaluation.accuracy.value <= own.evaluation.accuracy.value - 0.02


@pytest.mark.slow
def test_bursts_of_hands_are_left_out_whole_or_the_held_out_score_is_a_lie(test_data: Path, tmp_path: Path) -> None:
    weights, root = weights_of(test_data, "cifar10_resnet20"), test_data / "rps28"
    chosen = [*sorted(root.glob("train/*/*"))[::4], *sorted(root.glob("test/*/*"))]  # every fourth frame of each hand
    table = write_table(tmp_path / "hands.csv", chosen)
    whole = run_on(table, tmp_path, "cifar_resnet20", weights, layers="all")
    alone = run_on(table, tmp_path, "cifar_resnet20", weights, layers="all", group_by="none")
    claims = [run.record["head"]["held_out_accuracy"] for run in (whole, alone)]
    truths = [run.evaluation.accuracy.value for run in (whole, alone)]
    assert truths[0] >= 0.80
    assert claims[1] > 0.999  # every image has a near twin in its burst
    assert truths[1] < truths[0]
    assert abs(claims[0] - truths[0]) < abs(claims[1] - truths[1])


@pytest.mark.slow
def test_ten_photographs_of_a_class_need_a_pretrained_network(test_data: Path, tmp_path: Path) -> None:
    table = thinned(test_data / "rps_photos", tmp_path / "few.csv", {"train": 10, "test": 1000})
    pretrained = run_on(table, tmp_path, "resnet18", weights_of(test_data, "resnet18_imagenet"))
    random = run_on(table, tmp_path, "random", None)
    assert pretrained.evaluation.accuracy.n == random.evaluation.accuracy.n == 185
    assert random.evaluation.accuracy.low > 1 / 3
    assert pretrained.evaluation.accuracy.low > random.evaluation.accuracy.high


@pytest.mark.slow
def test_drawn_hands_teach_something_about_photographs_and_less_than_about_drawings(
    test_data: Path, tmp_path: Path
) -> None:
    folder = draw_hands(tmp_path / "hands", train_per_class=30, test_per_class=12)
    run = run_on(folder, tmp_path, "resnet18", weights_of(test_data, "resnet18_imagenet"))
    table = thinned(test_data / "rps_photos", tmp_path / "photos.csv", {"test": 1000})
    measured = evaluate(run.folder, table, on_event=lambda event: None).evaluation
    assert measured.accuracy.n == 185
    assert measured.accuracy.low > 1 / 3
    assert measured.accuracy.high < run.evaluation.accuracy.value
