"""The gate on small sets: the same draws for all baselines, accuracies of pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.pretraining.gate import MOST_TEST, PER_CLASS, pixel_scores, read_set
from pretraining.made_sets import draw_set


def test_draws_are_of_so_many_a_class_disjoint_and_the_same_each_time(tmp_path: Path) -> None:
    images = read_set(draw_set(tmp_path / "made"), draws=3)
    again = read_set(tmp_path / "made", draws=3)

    for (training, test), (training_again, test_again) in zip(images.draws, again.draws, strict=True):
        assert np.bincount(images.labels[training]).tolist() == [PER_CLASS, PER_CLASS]
        assert not set(training) & set(test)
        assert len(test) == 12 < MOST_TEST
        assert np.array_equal(training, training_again)
        assert np.array_equal(test, test_again)
    assert not np.array_equal(images.draws[0][0], images.draws[1][0])


def test_the_test_folder_serves_where_there_is_no_other(tmp_path: Path) -> None:
    assert len(read_set(draw_set(tmp_path / "made", split="test"), draws=1).paths) == 52


def test_too_few_images_and_a_missing_folder_are_reported(tmp_path: Path) -> None:
    draw_set(tmp_path / "few", per_class=PER_CLASS)

    with pytest.raises(DataError, match="more than 20 images of each class"):
        read_set(tmp_path / "few")
    with pytest.raises(DataError, match="a folder train or test"):
        read_set(tmp_path / "nothing")
    (tmp_path / "flat" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="a folder for each class"):
        read_set(tmp_path / "flat")


def test_an_image_that_cannot_be_read_is_reported_and_shifts_no_label(tmp_path: Path) -> None:
    draw_set(tmp_path / "made")
    (tmp_path / "made" / "train" / "above" / "3.PNG").write_bytes(b"no picture")

    with pytest.raises(DataError, match=r"3\.PNG"):
        pixel_scores(read_set(tmp_path / "made", draws=1))


def test_pixels_tell_bright_above_from_bright_below(tmp_path: Path) -> None:
    scores = pixel_scores(read_set(draw_set(tmp_path / "made"), draws=2))

    assert scores.tolist() == [1.0, 1.0]
