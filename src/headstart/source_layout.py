"""SourceLayout: how a table or a tree of folders is to be read, where the user says so."""

from __future__ import annotations

import csv
import numbers
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from headstart.errors import RecipeError

GROUP_WORDS = ("auto", "none", "parent")
"""What `group_by` says without a pattern or a column; they win over headers of the same name."""
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", r"\t": "\t"}


@dataclass(frozen=True, kw_only=True)
class SourceLayout:
    """How to read a table or folders; None and `auto` leave it to the reader, which stops where it cannot know.

    Args:
        path_column, label_column: header of the table's column.
        split_column: header, or `HEADER=VALUE`: lines with this value are the test split, all others training.
        delimiter: comma, semicolon, tab, pipe, or one character.
        label_from: level of the folders that names the class: auto, first, last, or a number from 1.
        group_by: header of the column of groups; a word of `GROUP_WORDS` or a pattern names no column.
        classes: all there are, in their order, those without images too; empty: those of the images, by name.

    Raises:
        RecipeError: the delimiter or the level is none of these.
    """

    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    delimiter: str | None = None
    label_from: str = "auto"
    group_by: str = "auto"
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (
            self.delimiter is not None
            and self.delimiter not in _DELIMITERS
            and (len(self.delimiter) != 1 or self.delimiter in '"\r\n')
        ):
            raise RecipeError(expected="comma, semicolon, tab, pipe or one character", found=repr(self.delimiter),
                              where="--delimiter",
                              hint="Leave the option out: the header of most tables tells.")  # fmt: skip
        if self.label_from not in ("auto", "first", "last") and not self._number:
            raise RecipeError(expected="auto, first, last or the number of a level, from 1",
                              found=repr(self.label_from), where="--label-from",
                              hint="first is the outermost folder, last the innermost.")  # fmt: skip

    @property
    def character(self) -> str | None:
        """The delimiter itself; None: it is found by the header."""
        return None if self.delimiter is None else _DELIMITERS.get(self.delimiter, self.delimiter)

    @property
    def groups_by_pattern(self) -> bool:
        """Whether `group_by` is a regular expression with a capture group, which reads names of files."""
        try:
            return re.compile(self.group_by).groups > 0
        except re.error:
            return False

    @property
    def _number(self) -> int:
        is_number = self.label_from.isascii() and self.label_from.isdigit() and len(self.label_from) < 4
        return int(self.label_from) if is_number else 0

    def level(self, count: int) -> int:
        """Index of the folder that names the class among `count` folders; not below `count` where there is none."""
        return count - 1 if self.label_from == "last" else max(self._number - 1, 0)


AUTO = SourceLayout()
"""Nothing is stated."""


def class_names(given: object) -> tuple[str, ...]:
    """Names of classes from a list of them, or from a text in which commas part them, as in a csv line.

    Raises:
        RecipeError: it is neither, a name is empty or there twice, or there is only one.
    """
    if given is None or (isinstance(given, (tuple, list)) and not given):
        return ()
    if isinstance(given, str):
        given = next(csv.reader([given], skipinitialspace=True), [])
    if not isinstance(given, Iterable) or isinstance(given, (bytes, Mapping)):
        raise _bad_classes(type(given).__name__)
    names: list[Any] = list(given)
    wrong = [name for name in names if isinstance(name, bool) or not isinstance(name, (str, numbers.Integral))]
    if wrong:
        raise _bad_classes(f"{wrong[0]!r}")
    written = [unicodedata.normalize("NFC", str(name).strip()) for name in names]  # as labels of folders and tables
    twice = [(name, count) for name, count in Counter(written).items() if count > 1]
    if twice or not all(written):
        raise _bad_classes(f"{twice[0][0]!r} {twice[0][1]} times" if twice else "an empty name")
    if len(written) < 2:
        raise _bad_classes(f"{written}" if written else "no name")
    return tuple(written)


def _bad_classes(found: str) -> RecipeError:
    expected = "names of at least two classes, each once"
    hint = "In Python classes=['cat', 'dog'], on the command line --classes cat,dog."
    return RecipeError(expected=expected, found=found, where="--classes", hint=hint)
