"""Decisions laid over a data set: labels and splits after it, and both scores of the test images by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.curation.decisions import Decision, Decisions
from headstart.curation.overlay import lay_over, reviewed_score
from headstart.data.dataset import Dataset, load_dataset
from headstart.errors import DataError
from headstart.evaluation.intervals import wilson
from headstart.recipe import Recipe


@pytest.fixture
def dataset(photos: Path) -> Dataset:
    return load_dataset(photos, Recipe(), progress=lambda name, unit: lambda done, total: None).with_split(0.2, 0)


def about(dataset: Dataset, i: int, action: str, new: str = "") -> Decision:
    return Decision(
        sha256=dataset.contents[i],
        image=dataset.samples[i].name,
        action=action,
        old=dataset.samples[i].label or "",
        new=new,
    )


def test_training_images_change_and_test_images_and_splits_stay(dataset: Dataset) -> None:
    first, second, third = dataset.indices("train")[:3]
    held = dataset.indices("test")[0]
    other = next(name for name in dataset.classes if name != dataset.samples[first].label)
    found = lay_over(
        dataset,
        Decisions(
            (
                about(dataset, first, "relabel", other),
                about(dataset, second, "drop"),
                about(dataset, third, "keep"),
                about(dataset, held, "drop"),
                Decision(sha256="0" * 64, image="x", action="drop", old="a"),
            )
        ),
    )
    after = found.dataset
    assert (found.relabelled, found.dropped, found.kept, found.elsewhere) == (1, 1, 1, 1)
    assert len(after) == len(dataset) - 1
    was = {sample.name: (sample.label, split) for sample, split in zip(dataset.samples, dataset.splits, strict=True)}
    now = {sample.name: (sample.label, split) for sample, split in zip(after.samples, after.splits, strict=True)}
    name = dataset.samples[first].name
    assert now.pop(name) == (other, "train")
    was.pop(name)
    was.pop(dataset.samples[second].name)
    assert now == was
    assert after.classes[after.labels[after.contents.index(dataset.contents[first])]] == other
    assert {i: one.action for i, one in found.test.items()} == {after.contents.index(dataset.contents[held]): "drop"}
    for split in ("train", "validation", "test"):
        assert {after.splits[i] for i in after.indices(split)} <= {split}
    assert "3 decisions of your review applied" in found.summary
    assert "changes no reported number" in found.summary
    assert dataset.splits[first] == "train"  # the data set itself is as it was


def test_without_decisions_the_data_set_is_itself(dataset: Dataset) -> None:
    found = lay_over(dataset, Decisions())
    assert found.dataset.samples == dataset.samples
    assert found.dataset.split == dataset.split
    np.testing.assert_array_equal(found.dataset.labels, dataset.labels)


def test_decisions_that_do_not_fit_are_errors(dataset: Dataset) -> None:
    first = int(dataset.indices("train")[0])
    with pytest.raises(DataError, match="gulls"):
        lay_over(dataset, Decisions((about(dataset, first, "relabel", "gulls"),)))
    every = [int(i) for i in dataset.indices("train") if dataset.labels[i] == 1]
    with pytest.raises(DataError, match="none of 'square'"):
        lay_over(dataset, Decisions(tuple(about(dataset, i, "drop") for i in every)))


def test_both_scores_of_test_images_equal_a_count_by_hand() -> None:
    def one(action: str, new: str = "") -> Decision:
        return Decision(sha256="", image="", action=action, old="a", new=new)

    predicted, labels = np.array([0, 1, 1, 0, 1]), np.array([0, 0, 0, 0, 1])
    decided = [None, one("relabel", "b"), one("drop"), one("keep"), None]
    found = reviewed_score(predicted, labels, decided=decided, classes=("a", "b"), groups=np.arange(5))
    assert found is not None
    assert (found.relabelled, found.dropped) == (1, 1)
    for interval, correct, n in ((found.reported, 3, 5), (found.reviewed, 4, 4)):
        assert (interval.value, interval.n) == (correct / n, n)
        assert interval.low == pytest.approx(wilson(correct, n).low)
    assert "as reported" in str(found)
    nothing = [one("keep"), None, None, None, None]
    assert reviewed_score(predicted, labels, decided=nothing, classes=("a", "b"), groups=np.arange(5)) is None


def test_a_class_that_the_classifier_does_not_know_counts_as_an_error() -> None:
    strange = [Decision(sha256="", image="", action="relabel", old="a", new="gulls"), None]
    found = reviewed_score(np.array([0, 1]), np.array([0, 1]), decided=strange, classes=("a", "b"), groups=np.arange(2))
    assert found is not None
    assert (found.reported.value, found.reviewed.value) == (1.0, 0.5)
