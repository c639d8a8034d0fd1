"""Words that name a split."""

from __future__ import annotations

import pytest

from headstart.data.split_words import parse_splits


def test_evaluation_means_the_test_split_unless_another_word_does() -> None:
    assert parse_splits(["Train", " eval "]) == {"Train": "train", " eval ": "test"}
    assert parse_splits(["test", "evaluation"]) == {"test": "test", "evaluation": "validation"}
    assert parse_splits(["cat", "training sets", "tests", "retrain", "01_train"]) == {}


def test_trainval_means_the_train_split_unless_another_word_does() -> None:
    assert parse_splits(["trainval", "test"]) == {"trainval": "train", "test": "test"}
    assert parse_splits(["train", "trainval", "val"]) == {"train": "train", "val": "validation"}


@pytest.mark.parametrize(
    ("train", "test"),
    [("training_set", "test_set"), ("trainset", "testset"), ("Train Images", "Test Images"), 
     ("train-data", "TEST DATA"), ("Training", "Testing"), ("train split", "eval set"), ("(train)", "test."),
     ("trainval", "test"), ("Entraînement", "Test"), ("treino", "teste")],
)  # fmt: skip
def test_what_says_nothing_beside_the_word_is_left_out(train: str, test: str) -> None:
    assert parse_splits([train, test, "cat"]) == {train: "train", test: "test"}
