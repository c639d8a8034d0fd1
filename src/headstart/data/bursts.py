"""Images that belong together by their names: frames of one burst, one folder, or a group of the user's pattern.

In: names and labels. Out: a group for each image, or None. Frames of one burst on both sides of a split, or of a
leave-one-out step, make accuracy too optimistic.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from math import gcd
from pathlib import PurePosixPath

from headstart.data.image_set import Sample
from headstart.errors import RecipeError
from headstart.source_layout import SourceLayout

# a stem, then a separator and a frame number, or a frame number in brackets: paper01-007, hand 3_12, juggler (4)
_FRAME = re.compile(r"(?P<stem>.*?[^-_. ])(?:[-_. ]+(?P<number>\d{1,9})|[-_. ]*[(\[](?P<bracketed>\d{1,9})[)\]])")
# what cameras, phones and scrapers write before a running number: it counts the user's photographs, not one burst
_RUNNING = frozenset(
    ("img", "image", "images", "photo", "photos", "pic", "picture", "dsc", "dscn", "dscf", "dcim", "cimg", "pxl", "p",
     "sam", "gopr", "gp", "mvi", "vid", "kimg", "scan", "screenshot", "download", "unnamed", "file", "sample", "train",
     "test", "val", "frame")
)  # fmt: skip
_FEWEST = 3  # frames of a burst, and names of other kinds in its class
# a recording of the studio, one press of its button: frames taken in one go, whatever else is in the class
HOLD = re.compile(r"hold-\d{8}-\d{6}-[0-9a-f]{4}")


def find_bursts(
    names: Sequence[str], labels: Sequence[str], splits: Sequence[str | None] | None = None
) -> tuple[str | None, ...]:
    """Burst of each image, as `folder/stem`, or None: runs such as `paper01-000 … paper01-119`.

    A burst is one stem in one folder, followed by a separator `-`, `_`, `.`, space (or by brackets) and a frame number,
    with at least 3 frames whose numbers are dense: counted in their common step, they span at most twice their count.
    A stem is a running number instead, and not a burst, when it covers more than half of a class in a split
    (`IMG_0001 …`, `cat_001 …`), when that class has fewer than 3 stems, or when it is the class's own name or one that
    cameras write. A stem that the studio's camera gives (`hold-20261128-141500-3fa9`) is always a burst, and the same
    one in every folder.

    Args:
        names: posix paths in the data set.
        splits: of each image, where a table gives them; the splits of folders are in the names.
    """
    frames = [_read_frame(name) for name in names]
    strata = list(zip(labels, splits or [None] * len(names), strict=True))  # (label, split) of each image
    members: dict[str, list[int]] = defaultdict(list)  # stem → indices; a name without a frame number is its own stem
    stems: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for index, ((stem, _), stratum) in enumerate(zip(frames, strata, strict=True)):
        members[stem].append(index)
        stems[stratum].add(stem)
    sizes = Counter(strata)
    groups: list[str | None] = [None] * len(names)
    for stem, indices in members.items():
        if HOLD.fullmatch(hold := PurePosixPath(stem).name):
            for index in indices:
                groups[index] = hold
            continue
        own = Counter(strata[index] for index in indices)
        is_running = any(2 * own[stratum] > sizes[stratum] or len(stems[stratum]) < _FEWEST for stratum in own)
        numbers = {number for index in indices if (number := frames[index][1]) is not None}
        if not is_running and _is_dense(numbers) and not _is_counter(stem, own):
            for index in indices:
                groups[index] = stem
    return tuple(groups)


def _read_frame(name: str) -> tuple[str, int | None]:
    """(folder/stem, frame number), or (the whole name, None) where it does not end in a frame number."""
    path = PurePosixPath(name)
    match = _FRAME.fullmatch(path.stem)
    if match is None:
        return name, None
    return str(path.parent / match["stem"]), int(match["number"] or match["bracketed"])


def _is_dense(numbers: set[int]) -> bool:
    """True for at least 3 numbers that span at most twice their count, in steps of their common distance."""
    if len(numbers) < _FEWEST:
        return False
    low = min(numbers)
    step = gcd(*(number - low for number in numbers))  # every 30th frame of a film is a burst too
    return (max(numbers) - low) // step + 1 <= 2 * len(numbers)


def _is_counter(stem: str, strata: Counter[tuple[str, str | None]]) -> bool:
    """True when a stem is only a camera's word or the class: the number after it then counts the user's images."""
    word = PurePosixPath(stem).name.casefold().strip("-_. ")
    return word in _RUNNING or word in {label.casefold() for label, _ in strata}


def parse_group_by(group_by: str) -> Callable[[str], str | None]:
    """Function from an image's name to the group that it belongs to, or None.

    Args:
        group_by: `parent`: the image's folder; a regular expression, searched in the posix path in the data set, whose
            first capture group is the group; `auto` and `none` give no group by a single name (`auto` uses all names
            together, see `find_bursts`).

    Raises:
        RecipeError: not a regular expression, or one without a capture group.
    """
    if group_by in ("auto", "none"):
        return lambda name: None
    if group_by == "parent":
        return lambda name: PurePosixPath(name).parent.as_posix()
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise _refuse(group_by, f"{group_by!r} ({error})") from error
    if pattern.groups < 1:
        raise _refuse(group_by, f"{group_by!r}, without a capture group")
    return lambda name: match[1] if (match := pattern.search(name)) else None


def _refuse(group_by: str, found: str) -> RecipeError:
    expected = "auto, none, parent, a column of the table, or a regular expression with a capture group"
    hint = "For example '(person[0-9]+)' groups images by the person in their path; folders have no columns."
    return RecipeError(expected=expected, found=found, where="--group-by", hint=hint)


def find_groups(samples: Sequence[Sample], group_by: str) -> tuple[tuple[str | None, ...], ...]:
    """All groupings of samples by table and by name, each with one group or None for every sample.

    The table's group column always counts when there is one; then come bursts for `auto`, or the groups of `group_by`.
    Where `group_by` names that column, the names of files say nothing more.

    Raises:
        RecipeError: as `parse_group_by`, unless a table gave the groups: it was asked for that column.
    """
    in_table = any(sample.group is not None for sample in samples)
    is_pattern = SourceLayout(group_by=group_by).groups_by_pattern
    name_group = parse_group_by("none" if in_table and not is_pattern and group_by != "parent" else group_by)
    names = [sample.name for sample in samples]
    if group_by == "auto":
        named = find_bursts(names, [sample.label or "" for sample in samples], [sample.split for sample in samples])
    else:
        named = tuple(name_group(name) for name in names)
    groupings = (tuple(sample.group for sample in samples), named)
    return tuple(grouping for grouping in groupings if any(group is not None for group in grouping))
