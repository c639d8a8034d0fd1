"""The gate on tiny made sets: the same draws for all rivals, honest differences, patches from training images alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import find_spec
from headstart.errors import DataError
from headstart.pretraining.gate import MOST_TEST, PER_CLASS, GateSet, pixel_scores, read_set
from headstart.pretraining.patches import fit_patches, patch_features
from headstart.pretraining.verdict import Verdict, judge


def _draw_set(folder: Path, per_class: int = 26, part: str = "train") -> Path:
    """Two classes that raw pixels tell apart: bright above, bright below; noise over both."""
    rng = np.random.default_rng(0)
    for label, rows in (("above", slice(0, 16)), ("below", slice(16, 32))):
        (folder / part / label).mkdir(parents=True)
        for i in range(per_class):
            picture = rng.integers(0, 120, (32, 32, 3))
            picture[rows] += 100
            Image.fromarray(picture.astype(np.uint8)).save(folder / part / label / f"{i}.PNG")
    return folder


def test_draws_are_of_so_many_a_class_disjoint_and_the_same_each_time(tmp_path: Path) -> None:
    images = read_set(_draw_set(tmp_path / "made"), draws=3)
    again = read_set(tmp_path / "made", draws=3)

    assert images.classes == 2
    for (training, test), (training_again, test_again) in zip(images.draws, again.draws, strict=True):
        assert np.bincount(images.labels[training]).tolist() == [PER_CLASS, PER_CLASS]
        assert not set(training) & set(test)
        assert len(test) == 12 < MOST_TEST
        assert np.array_equal(training, training_again)
        assert np.array_equal(test, test_again)
    assert not np.array_equal(images.draws[0][0], images.draws[1][0])


def test_the_test_folder_serves_where_there_is_no_other(tmp_path: Path) -> None:
    assert len(read_set(_draw_set(tmp_path / "made", part="test"), draws=1).paths) == 52


def test_too_few_images_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    _draw_set(tmp_path / "few", per_class=PER_CLASS)

    with pytest.raises(DataError, match="more than 20 images of each class"):
        read_set(tmp_path / "few")
    with pytest.raises(DataError, match="a folder train or test"):
        read_set(tmp_path / "nothing")
    (tmp_path / "flat" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="a folder for each class"):
        read_set(tmp_path / "flat")


def test_an_image_that_cannot_be_read_is_told_and_shifts_no_label(tmp_path: Path) -> None:
    _draw_set(tmp_path / "made")
    (tmp_path / "made" / "train" / "above" / "3.PNG").write_bytes(b"no picture")

    with pytest.raises(DataError, match=r"3\.PNG"):
        pixel_scores(read_set(tmp_path / "made", draws=1))


def test_pixels_tell_bright_above_from_bright_below(tmp_path: Path) -> None:
    scores = pixel_scores(read_set(_draw_set(tmp_path / "made"), draws=2))

    assert scores.tolist() == [1.0, 1.0]


@pytest.mark.slow
def test_all_rivals_are_judged_on_the_same_draws(tmp_path: Path) -> None:
    _draw_set(tmp_path / "hymenoptera")
    told: list[tuple[str, str]] = []

    verdict = judge(
        tmp_path,
        build_backbone(find_spec("embedded"), seed=1),
        build_backbone(find_spec("random"), seed=2),  # a teacher that is quick
        sets=("hymenoptera",),
        draws=2,
        on_event=lambda name, rival, share: told.append((name, rival)),
    )

    assert [rival for _, rival in told] == ["embedded", "random", "pixels", "patches", "teacher"]
    assert all(len(draws) == 2 for draws in verdict.scores["hymenoptera"].values())
    assert verdict.scores["hymenoptera"]["pixels"].mean() == 1.0


def test_the_verdict_is_what_a_hand_computes() -> None:
    scores = {
        name: {"embedded": np.array([0.9, 0.8, 0.7]), "random": np.array([0.5, 0.5, 0.3])}
        for name in ("hymenoptera", "b", "c")
    }
    scores["hymenoptera"]["teacher"] = np.array([1.0, 0.9, 0.95])
    scores["d"] = {"embedded": np.array([0.5, 0.9]), "random": np.array([0.5, 0.4])}

    verdict = Verdict(scores)

    # differences 0.4, 0.3, 0.4: mean 11/30, deviation 0.057735, error 0.033333
    found = verdict.difference("b", "random")
    assert found.mean == pytest.approx(11 / 30)
    assert found.error == pytest.approx(1 / 30)
    assert found.errors == pytest.approx(11)
    assert verdict.difference("d", "random").errors == pytest.approx(1)
    assert verdict.beaten == ("hymenoptera", "b", "c")
    assert verdict.way == pytest.approx((0.8 - 13 / 30) / (0.95 - 13 / 30))
    assert verdict.passed
    assert verdict.to_dict()["table"]["b"] == {  # type: ignore[index]
        "embedded": 0.8,
        "random": 0.4333,
        "minus_random": [0.3667, 0.0333],
    }
    del scores["c"]
    assert not Verdict(scores).passed
    assert math.isnan(Verdict({"b": scores["b"]}).way)
    assert not Verdict({"b": scores["b"]}).passed


def test_patches_find_what_is_in_a_quadrant_and_ignore_the_mean_brightness() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 40 * torch.rand(6, 3, 32, 32, generator=generator)
    images[:, :, 4:12, 4:12] += 150 * torch.eye(8)  # a diagonal in the upper left

    patches = fit_patches(images, 20, seed=0)
    features, brighter = patch_features(images, patches), patch_features(images + 50, patches)

    assert features.shape == (6, 80)
    assert (features >= 0).all()
    assert torch.allclose(features, brighter, atol=1e-3)
    quadrants = features.view(6, 20, 4)
    away = (quadrants[:, :, 0] - quadrants[:, :, 3]).abs().mean()
    alike = (quadrants[:, :, 2] - quadrants[:, :, 3]).abs().mean()
    assert away > 2 * alike


def test_patches_are_white_and_the_same_for_the_same_seed() -> None:
    images = 255 * torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    first, again = fit_patches(images, 10, seed=4), fit_patches(images, 10, seed=4)

    assert torch.equal(first.centres, again.centres)
    assert torch.allclose(first.whiten, first.whiten.T, atol=1e-4)
    assert GateSet("x", (), np.array([0, 1, 2]), ()).classes == 3


def _passing() -> dict[str, dict[str, np.ndarray]]:
    scores = {
        name: {"embedded": np.array([0.80, 0.82, 0.81]), "random": np.array([0.60, 0.61, 0.62])}
        for name in ("hymenoptera", "b", "c", "d")
    }
    scores["hymenoptera"]["teacher"] = np.array([0.90, 0.91, 0.92])
    return scores


@pytest.mark.parametrize(
    ("name", "rival", "draws", "beaten"),
    [
        ("hymenoptera", "embedded", [0.74, 0.75, 0.76], 4),  # beats random everywhere, but goes 0.47 of the way
        ("hymenoptera", "teacher", [1.0, 1.1, 1.2], 4),  # the teacher is further away: 0.41 of the way
        ("b", "embedded", [0.61, 0.60, 0.62], 3),  # as good as random on one set: still enough sets
        ("b", "embedded", [0.40, 0.42, 0.41], 3),  # worse than random, and surely so, is not beaten
    ],
)
def test_each_condition_alone_decides(name: str, rival: str, draws: list[float], beaten: int) -> None:
    scores = _passing()
    assert Verdict(scores).passed

    scores[name][rival] = np.array(draws)

    verdict = Verdict(scores)
    assert len(verdict.beaten) == beaten
    assert verdict.passed == (name == "b")
    scores["c"]["embedded"] = scores["c"]["random"] + np.array([0.3, -0.1, 0.0])  # better on average, not surely
    scores["d"]["embedded"] = scores["c"]["embedded"]
    assert not Verdict(scores).passed


@pytest.mark.slow
def test_an_untrained_candidate_does_not_pass(tmp_path: Path) -> None:
    _draw_set(tmp_path / "hymenoptera")
    candidate = build_backbone(find_spec("embedded"), seed=1)

    verdict = judge(tmp_path, candidate, None, sets=("hymenoptera",), draws=3)

    assert not verdict.passed
    assert math.isnan(verdict.way)
    assert verdict.to_dict()["way_to_teacher"] is None
