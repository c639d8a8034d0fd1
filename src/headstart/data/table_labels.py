"""Labels of a table that may not be what they seem: several in one cell, one number in two spellings, or none.

In: labels with their lines. Out: Findings; all but a word for "no label" stop a training, since each spelling would
become a class.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from headstart.data.finding import Finding, stopping
from headstart.wording import spelled_number

_LISTS = re.compile(r"\s*(\[.*\]|\{.*\}|\(.*,.*\))\s*", re.DOTALL)  # ['cat', 'dog'] as Python and JSON write it
_ROWS = re.compile(r"[01](?:[ ,]+[01]){2,}|\d{1,2}(?: \d{1,2})+")  # 0 1 0, of one place for each class; 16 0, numbers
_SIGNS = ("|", ";", "\t")  # nobody writes these inside one name
# these may belong to a name: New York; cat, domestic
_WORDS = (",", "/", "+", "&", ":", "#", "•", "\n", " ", " and ", " und ", " et ", " y ")
_MISSING = frozenset(("NaN", "nan", "NaT", "NA", "<NA>", "N/A", "n/a", "#N/A", "None", "NULL", "null", "undefined"))
"""What programs write for an empty cell, spelled as they do; people's own `none` is a class."""
_SHOWN = 6


def check_labels(lines: Mapping[str, Sequence[int]], unit: str = "line") -> list[Finding]:
    """What may be wrong with the labels of a table, given with the lines of each; `unit`: what is counted."""
    return [*_several(lines, unit), *_numbers(lines, unit), *_missing(lines, unit)]


def _missing(lines: Mapping[str, Sequence[int]], unit: str) -> list[Finding]:
    found = sorted(_MISSING.intersection(lines))
    at = sorted(line for label in found for line in lines[label])
    message = (
        f"{' and '.join(map(repr, found))} ({unit} {', '.join(map(str, at[:_SHOWN]))}{', …' * (len(at) > _SHOWN)})"
    )
    message += " is a class here. If it stands for a missing label, leave the cell empty."
    return [Finding("missing-labels", "warning", message, detail={"labels": found, "lines": at})] if found else []


def _in_two_lists(labels: Iterable[str]) -> set[str]:
    """Parts between commas that are in several labels."""
    counts: dict[str, int] = defaultdict(int)
    for label in labels:
        for part in _parts(label, ","):
            counts[part] += 1
    return {part for part, count in counts.items() if count > 1}


def _written(label: str) -> str:
    """A label with the signs of Chinese and Japanese keyboards as those of others."""
    return unicodedata.normalize("NFKC", label).replace("、", ",")


def _parts(label: str, sign: str) -> set[str]:
    return {part.strip() for part in label.split(sign)} - {""}


def _several(lines: Mapping[str, Sequence[int]], unit: str) -> list[Finding]:
    # one pass over what all labels share keeps ten thousand classes fast
    written = {label: _written(label) for label in lines}
    known = set(written.values())
    shared = _in_two_lists(known)
    found = []
    for original, label in written.items():
        is_list = any(form.fullmatch(label) for form in (_LISTS, _ROWS))
        is_list = is_list or any(len(_parts(label, sign)) > 1 for sign in _SIGNS)
        by_words = any(len(parts := _parts(label, sign)) > 1 and parts <= known for sign in _WORDS if sign in label)
        by_commas = "," in label and len(parts := _parts(label, ",")) > 1 and parts <= shared
        if is_list or by_words or by_commas:
            found.append(original)
    if not found:
        return []
    shown = ", ".join(repr(label) for label in found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    return [
        stopping(
            "several-labels",
            expected="one label for each image",
            found=f"{shown} in {unit} {min(lines[found[0]])}" if len(found) == 1 else f"{shown}",
            hint="Several labels for one image are not supported: keep the one that matters, or list the image under "
            "one class. If it is one name, write it without these signs.",
            labels=found,
            lines=sorted(line for label in found for line in lines[label]),
        )
    ]


def _numbers(lines: Mapping[str, Sequence[int]], unit: str) -> list[Finding]:
    by_value: dict[float, list[str]] = defaultdict(list)
    for label in lines:
        value = spelled_number(label)
        if value is not None:
            by_value[value].append(label)
    several = {value: sorted(labels) for value, labels in by_value.items() if len(labels) > 1}
    if not several:
        return []
    shown = "; ".join(" and ".join(map(repr, labels)) for labels in list(several.values())[:_SHOWN])
    first = next(iter(several.values()))
    return [
        stopping(
            "two-spellings",
            expected="one spelling for each class",
            found=f"{shown}: the same number",
            hint=f"Write one of them in every {unit}, such as {first[0]}; {unit} {lines[first[0]][0]} has "
            f"{first[0]!r}, {unit} {lines[first[1]][0]} {first[1]!r}.",
            labels=[list(labels) for labels in several.values()],
        )
    ]
