"""What a cell of a table says about the split of its image: words for train, validation and test, or yes and no."""

from __future__ import annotations

from collections.abc import Iterable

from headstart.data.split_words import SPLIT_WORDS, letters, match_splits, shortened

# of cells alone: as folders these are no usual words
_CELLS = {**SPLIT_WORDS, "trn": "train", "tr": "train", "devel": "validation", "development": "validation",
          "tst": "test", "te": "test", "holdout": "test", "heldout": "test", "privatetest": "test"}  # fmt: skip
_YES, _NO = ("true", "1", "yes", "y", "t"), ("false", "0", "no", "n", "f")
_ASKING = ("", "is", "in", "for", "usefor", "usedfor")
_NAMING = ("", "set", "split", "data", "image", "images")
_SAID = {
    **dict.fromkeys(("val", "validation"), ("validation", "train")),
    **dict.fromkeys(("test", "testing", "holdout", "heldout"), ("test", "train")),
    **dict.fromkeys(("train", "training"), ("train", "test")),
}
STATEMENTS = {
    **{f"{asking}{word}{naming}": said for asking in _ASKING for word, said in _SAID.items() for naming in _NAMING},
    **dict.fromkeys(("isvalid", "isdev", "validset", "isvalidset"), ("validation", "train")),
}
"""Word of a header → the split of its lines that say yes, and of those that say no; `valid` alone may mean usable."""


def parse_values(header: str, values: Iterable[str]) -> dict[str, str]:
    """Split that each value of a column says; values that say none are absent.

    Args:
        header: of the column; under `is_valid`, `is_test` and `is_train` values are yes and no.
    """
    written = {value: letters(value) for value in values}
    says_yes, says_no = STATEMENTS.get(letters(header), ("", ""))
    if says_yes and set(written.values()) <= {*_YES, *_NO, "10", "00"}:  # 1.0 and 0.0
        return {value: says_yes if word in (*_YES, "10") else says_no for value, word in written.items()}
    found = match_splits({value: shortened(word, _CELLS) for value, word in written.items()}, _CELLS)
    for value, word in written.items():
        if word == "publictest":  # FER2013: the public leader board, where there is a private one, is for choices
            found[value] = "validation" if "privatetest" in written.values() else "test"
    return found
