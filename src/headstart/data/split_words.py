"""Words that name a split: of folders, and the base of those of tables."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainingsdaten", "entrainement", "apprentissage",
                     "entrenamiento", "treino", "treinamento", "addestramento"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "validierung", "validierungsdaten", "validacion", "validacao",
                     "convalida", "validatie"), "validation"),
    **dict.fromkeys(("test", "testing", "testdaten", "prueba", "teste"), "test"),
}  # fmt: skip
_TAILS = ("set", "split", "data", "images", "ing")
_ALL_BUT_TEST = ("trainval", "trainvalid")  # the train split; beside a folder called train it holds that one again
_EVALUATION = ("eval", "evaluation")  # the test split; beside a folder called test it can only be the validation split


def parse_splits(words: Iterable[str]) -> dict[str, str]:
    """Split that each folder name says, such as `Train` and `test_set`; names that say none are absent.

    `eval` and `evaluation` mean the test split, or the validation split where another word names the test split;
    `trainval` means the train split where no other word does.
    """
    return match_splits({word: shortened(letters(word), SPLIT_WORDS) for word in words}, SPLIT_WORDS)


def match_splits(written: Mapping[str, str], words: Mapping[str, str]) -> dict[str, str]:
    """Split of each text, by what is left of it to compare.

    Args:
        written: text → the same to compare. words: those that are known → their split.
    """
    known = {text: words[word] for text, word in written.items() if word in words}
    evaluation = "validation" if "test" in known.values() else "test"
    found = known | {text: evaluation for text, word in written.items() if word in _EVALUATION}
    if "train" in known.values():
        return found
    return found | {text: "train" for text, word in written.items() if word in _ALL_BUT_TEST}


def letters(text: str) -> str:
    """What is left of a text to compare it: letters without accents and digits alone, in lower case."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text).casefold() if letter.isalnum())


def shortened(word: str, known: Collection[str]) -> str:
    """`trainset` and `testingset` without what says nothing."""
    if word in known:
        return word
    for tail in _TAILS:
        if (shorter := word.removesuffix(tail)) in known or shorter in _EVALUATION:
            return shorter
    return word
