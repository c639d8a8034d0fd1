"""The words people use for the parts of a data set, in folders and in tables."""

from __future__ import annotations

from collections.abc import Iterable

PARTS = ("train", "validation", "test")
_WORDS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_EITHER = ("eval", "evaluation")  # the test, but beside a test it can only be the validation


def read_parts(words: Iterable[str]) -> dict[str, str]:
    """Part that each word names, in any case; words that name none are absent.

    `eval` and `evaluation` mean the test, or the validation where another word names the test.
    """
    listed = list(words)
    known = {word: _WORDS[word.strip().lower()] for word in listed if word.strip().lower() in _WORDS}
    either = "validation" if "test" in known.values() else "test"
    return known | {word: either for word in listed if word.strip().lower() in _EITHER}
