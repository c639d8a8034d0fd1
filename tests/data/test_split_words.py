"""Words that name a split."""

from __future__ import annotations

from headstart.data.split_words import parse_splits


def test_evaluation_means_the_test_split_unless_another_word_does() -> None:
    assert parse_splits(["Train", " eval "]) == {"Train": "train", " eval ": "test"}
    assert parse_splits(["test", "evaluation"]) == {"test": "test", "evaluation": "validation"}
    assert parse_splits(["cat", "training set"]) == {}
