"""Images to label: uncertain ones in dense places, and no near duplicates of one another."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.advice.next_to_label import choose_to_label


def cluster(centre: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return centre + 0.05 * rng.normal(size=(count, len(centre)))


def test_uncertain_images_in_a_crowd_come_before_certain_ones_and_before_outliers() -> None:
    rng = np.random.default_rng(0)
    crowd, others = cluster(np.eye(8)[0], 30, rng), cluster(np.eye(8)[1], 30, rng)
    outlier = -3 * np.ones((1, 8))
    features = np.vstack([crowd, others, outlier])
    probabilities = np.tile([0.99, 0.01], (61, 1))
    probabilities[:30] = [0.55, 0.45]  # the crowd is uncertain
    probabilities[60] = [0.5, 0.5]  # and so is the outlier, even more
    first, second, *_ = choose_to_label(features, probabilities, count=5)
    assert first.index < 30
    assert first.margin == pytest.approx(0.1)
    assert first.density > 0.9
    assert second.score < first.score


def test_a_near_duplicate_of_a_chosen_image_is_not_chosen_as_long_as_others_are_there() -> None:
    rng = np.random.default_rng(1)
    centres = np.eye(6)[:3]
    features = np.vstack([cluster(centre, 20, rng) for centre in centres])
    probabilities = np.tile([0.5, 0.5], (60, 1))
    chosen = choose_to_label(features, probabilities, count=3)
    assert {one.index // 20 for one in chosen} == {0, 1, 2}


def test_density_leaves_the_image_itself_out_also_among_a_sample() -> None:
    rng = np.random.default_rng(2)
    features = np.vstack([cluster(np.eye(4)[0], 40, rng), [[0.0, 0, 0, 5]]])
    (alone,) = [one for one in choose_to_label(features, np.full((41, 2), 0.5), count=41) if one.index == 40]
    assert alone.density < 0.5  # counting itself would have added 1 of 11 cosines


def test_few_images_and_one_class_give_what_there_is() -> None:
    assert choose_to_label(np.ones((1, 3)), np.ones((1, 2)) / 2, count=5)[0].index == 0
    assert len(choose_to_label(np.eye(3), np.ones((3, 1)), count=5)) == 3
    assert sorted(one.index for one in choose_to_label(np.eye(3), np.ones((3, 2)) / 2, count=5)) == [0, 1, 2]
